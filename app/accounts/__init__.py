"""REPLACE: users, sign-in, browser sessions, passwords, throttling, known browsers."""
