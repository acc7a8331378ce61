"""Reads pages of the copy."""

import re
from typing import Any

from flask import Flask
from sqlalchemy import select

from app.database.db import db
from app.sync.copy import Order
from tests.support.pages import Page, as_text, rows
from tests.support.sandbox import Sandbox

WICK = "tallow-and-wick"
ORDERS, STOCK = "Orders, newest first", "Stock over all locations, what runs short first"
MANY = 64  # orders in the first factory


def change(app: Flask, statement: Any) -> None:
    """Execute a statement that changes stored data."""
    with app.app_context():
        db.session.execute(statement)
        db.session.commit()


def asked(sandbox: Sandbox) -> int:
    """The number of requests to Katana's API."""
    return len(sandbox.ledger().of("api"))


def told(page: Page) -> str:
    """The text of the page in one line."""
    return re.sub(r"\s+", " ", as_text(page.text))


def links(page: Page, words: str) -> str:
    """The URL of the link with this text."""
    found = re.search(rf'<a href="([^"]*)"[^>]*>{words}</a>', page.text)
    assert found, f"no link says {words}"
    return found[1].replace("&amp;", "&")


def listed(*pages: Page) -> set[int]:
    """Katana's ids of the orders that the pages link to."""
    return {int(found) for page in pages for found in re.findall(r'"/orders/(\d+)"', page.text)}


def ids(app: Flask) -> set[int]:
    """Katana's ids of all stored orders, of any connection."""
    with app.app_context():
        return set(db.session.scalars(select(Order.id)))


def numbers(page: Page) -> list[str]:
    """The order numbers on a page."""
    return [row[0] for row in rows(page, ORDERS)]
