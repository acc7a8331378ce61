"""Requests to Katana: how they are sent, what the answers are taken for, and their limits."""
