"""The sandbox behaves as Katana does."""
