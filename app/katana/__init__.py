"""Clients for Katana: its login, API, webhooks, fields and limits. No connections, no users.

`oauth.py` sends requests to Katana's login, `client.py` to its API; both use `transport.py`.
"""
