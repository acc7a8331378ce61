"""The fictional factories: name, products and customers of each (`seed_factories.json`)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One variant of a product; `price` is in whole units of the factory's currency."""

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
    """One fictional Katana account; `first_id` is its lowest id.

    Two of them have the same name and the same first ids, as two accounts at Katana may. This shows
    whether an app confuses them.
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
