"""The core: connecting, refreshing, keeping alive, disconnecting, and what a crash leaves."""
