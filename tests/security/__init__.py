"""Attacks from outside, each test named by its item of the checklist, and their guards."""
