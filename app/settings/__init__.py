"""The settings: environment in, checked values out."""
