"""The pages that show the copy: orders, one order, stock, and the dashboard's part of them.

They read this app's own tables and never ask Katana, so they are there at once, also while Katana
is away, and say how old they are. They go with `app/sync/`.

    views.py       the routes
    orders.py      orders from the copy: latest, searched, one
    search.py      what is looked for, and a place in the list, as an address says it
    stock.py       stock from the copy: what runs short first
    freshness.py   as of when, and why it is not newer, in a factory owner's words
"""

from app.pages.copy.overview import overview
from app.pages.copy.views import bp

__all__ = ["bp", "overview"]
