"""Customers."""

from app.katana.fields import Json, dated, required, text
from app.sync.copy import Customer
from app.sync.resources import Read, Resource


def read(record: Json) -> Read:
    """A customer: developer.katanamrp.com/reference/list-all-customers."""
    columns = {"name": text(record, "name", 200), "email": text(record, "email", 254)}
    return Read((required(record, "id"),), columns | dated(record))


# Katana has no events for customers. A new order may have a new customer.
CUSTOMERS = Resource("/customers", Customer, read, events=("sales_order.created",))
