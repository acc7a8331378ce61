"""The pages that show the copy: orders, one order, stock, and their part of the dashboard.

They read this app's own tables and send no request to Katana. So they load at once, also while
Katana does not respond, and they say how old the data is. A fork that deletes `app/sync/` deletes
them too.

    views.py       the routes
    orders.py      orders from the copy: latest, searched, one
    search.py      the search and the position in the list, to and from a URL
    stock.py       stock from the copy: variants that run short come first
    freshness.py   how old the copy is, and why, in a factory owner's words
"""

from app.pages.copy.overview import overview
from app.pages.copy.views import bp

__all__ = ["bp", "overview"]
