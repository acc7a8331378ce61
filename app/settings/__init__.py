"""Reads and validates the settings."""
