"""The mail about a connection that has ended."""
