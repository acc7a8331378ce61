"""Starts, serves, watches and repairs the app: launchers, health, metrics, doctor, commands."""
