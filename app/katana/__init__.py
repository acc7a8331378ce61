"""What Katana is: its URLs, fields, limits and quirks. Knows nothing of connections or users.

`oauth.py` speaks to Katana's login, `client.py` to its API, `transport.py` carries both.
"""
