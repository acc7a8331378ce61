"""Starts, serves, monitors and repairs the app: launchers, health, metrics, doctor, commands."""
