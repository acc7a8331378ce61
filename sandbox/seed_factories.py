"""The invented factories: what each is called, makes and sells to whom (`factories.json`)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One thing that can be bought; `price` is in whole units of the factory's currency."""

    suffix: str
    value: str
    price: int


@dataclass(frozen=True)
class Product:
    """One product, and the attribute in which its variants differ."""

    name: str
    category: str
    sku: str
    attribute: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Factory:
    """One invented Katana account; `first_id` is where its ids begin.

    Two of them share their name and their first ids, as two accounts at Katana may: an app that
    takes one for the other shows it.
    """

    key: str
    display_name: str
    legal_name: str
    makes: str
    city: str
    country: str
    currency: str
    first_id: int
    people: tuple[str, ...]
    customers: tuple[str, ...]
    products: tuple[Product, ...]


def _factory(written: dict[str, Any]) -> Factory:
    products = tuple(_product(product) for product in written.pop("products"))
    people, customers = tuple(written.pop("people")), tuple(written.pop("customers"))
    return Factory(**written, people=people, customers=customers, products=products)


def _product(written: dict[str, Any]) -> Product:
    variants = tuple(Variant(**variant) for variant in written.pop("variants"))
    return Product(**written, variants=variants)


FACTORIES = tuple(
    _factory(written)
    for written in json.loads(Path(__file__).with_name("seed_factories.json").read_text("utf-8"))
)
