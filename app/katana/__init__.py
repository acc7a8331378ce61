"""Clients for Katana: its login, API, webhooks, fields and limits.

`oauth.py` sends requests to Katana's login, `client.py` to its API; both use `transport.py`. This
package knows neither connections nor users.
"""
