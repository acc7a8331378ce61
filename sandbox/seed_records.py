"""The records of each factory when the sandbox starts.

They are computed without random values, so every start gives the same records. Only the dates are
relative to the start, so that the orders are always recent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox.orders import sales_orders
from sandbox.record_templates import Record, shaped
from sandbox.records import Records
from sandbox.seed_factories import FACTORIES, Factory, Product

_SAFETY_STOCK = 5


@dataclass(frozen=True)
class Stock:
    """All records of one factory that the API returns."""

    factory: Record
    lists: dict[str, Records]


def stock_of(factory: Factory, now: datetime) -> Stock:
    """Return a factory's records, with dates before `now`."""
    founded = now - timedelta(days=200)
    customers = [_customer(factory, n, founded) for n in range(len(factory.customers))]
    products = [_product(factory, n, founded) for n in range(len(factory.products))]
    variants = [variant for product in products for variant in product["variants"]]
    users = (_user(factory, n) for n in range(len(factory.people)))
    inventory = (_inventory(factory, n, variant) for n, variant in enumerate(variants))
    lists = {
        "users": Records(users, newest_first=False),
        "locations": Records([_location(factory, founded)], newest_first=False),
        "customers": Records(customers),
        "products": Records(products),
        "variants": Records(variants),
        "inventory": Records(inventory, key="variant_id", newest_first=False),
        "sales_orders": Records(sales_orders(factory, customers, variants, now)),
    }
    return Stock(_account(factory), lists)


def _account(factory: Factory) -> Record:
    location = factory.first_id + 1
    address = shaped("address", line_1="1 Workshop Lane", city=factory.city)
    return shaped(
        "factory",
        legal_address=address | {"country": factory.country},
        legal_name=factory.legal_name,
        display_name=factory.display_name,
        base_currency_code=factory.currency,
        default_manufacturing_location_id=location,
        default_purchases_location_id=location,
        default_sales_location_id=location,
    )


def _user(factory: Factory, n: int) -> Record:
    first, last = factory.people[n].split()
    email = f"{first}@{factory.key}.example.com".lower()
    return shaped("user", id=factory.first_id + 40 + n, firstName=first, lastName=last, email=email)


def _location(factory: Factory, founded: datetime) -> Record:
    address_id = factory.first_id + 2
    return shaped(
        "location",
        founded,
        id=factory.first_id + 1,
        legal_name=factory.legal_name,
        address_id=address_id,
        address={"id": address_id} | shaped("address"),
    )


def _customer(factory: Factory, n: int, founded: datetime) -> Record:
    return customer(factory, n, founded + timedelta(days=3 * n))


def customer(factory: Factory, n: int, written: datetime) -> Record:
    """Return the factory's customer number `n`; after the last name, names repeat with a number."""
    turn, place = divmod(n, len(factory.customers))
    name = factory.customers[place]
    is_person = len(name.split()) == 2 and place % 2 == 0
    first, last = name.split() if is_person else ("", "")
    if turn:
        name = f"{name} {turn + 1}"
    mailbox = "".join(letter for letter in name.lower() if letter.isalnum())
    return shaped(
        "customer",
        written,
        id=customer_id_of(factory, n),
        name=name,
        first_name=first,
        last_name=last,
        company="" if is_person else name,
        email=f"{mailbox}@example.com",
        currency=factory.currency,
    )


def customer_id_of(factory: Factory, n: int) -> int:
    """Return the id of customer number `n`."""
    if n < len(factory.customers):
        return factory.first_id + 70 + n

    return 20_000_000 + FACTORIES.index(factory) * 1_000_000 + n


def _product(factory: Factory, n: int, founded: datetime) -> Record:
    product, product_id = factory.products[n], factory.first_id + 100 + n
    written = founded + timedelta(days=n)
    config = {"id": product_id + 400, "product_id": product_id, "name": product.attribute}
    return shaped(
        "product",
        written,
        id=product_id,
        name=product.name,
        category_name=product.category,
        variants=[_variant(product, m, product_id, written) for m in range(len(product.variants))],
        configs=[config | {"values": [variant.value for variant in product.variants]}],
    )


def _variant(product: Product, m: int, product_id: int, written: datetime) -> Record:
    variant = product.variants[m]
    attribute = {"config_name": product.attribute, "config_value": variant.value}
    return shaped(
        "variant",
        written,
        id=product_id * 10 + m,
        product_id=product_id,
        sku=f"{product.sku}-{variant.suffix}",
        sales_price=variant.price,
        config_attributes=[attribute],
    )


def _inventory(factory: Factory, n: int, variant: Record) -> Record:
    """Return the stock of a variant; quantities and money are strings, as Katana writes them."""
    in_stock, committed = (7 * n + 4) % 23, (3 * n + 2) % 9
    cost = variant["sales_price"] * 0.42
    return shaped(
        "inventory",
        variant_id=variant["id"],
        location_id=factory.first_id + 1,
        safety_stock_level=f"{_SAFETY_STOCK:.5f}",
        reorder_point=f"{_SAFETY_STOCK:.5f}",
        average_cost=f"{cost:.10f}",
        value_in_stock=f"{cost * in_stock:.10f}",
        quantity_in_stock=f"{in_stock:.5f}",
        quantity_committed=f"{committed:.5f}",
        quantity_missing_or_excess=f"{in_stock - committed - _SAFETY_STOCK:.5f}",
    )


def moved(row: Record) -> Record:
    """Return a stock row's fields with two pieces less, or with twenty more if too few are left."""
    had = Decimal(row["quantity_in_stock"])
    has = had - 2 if had >= 2 else had + 20
    short = has + Decimal(row["quantity_expected"]) - Decimal(row["quantity_committed"])
    short -= Decimal(row["safety_stock_level"])
    return {
        "quantity_in_stock": f"{has:.5f}",
        "value_in_stock": f"{has * Decimal(row['average_cost']):.10f}",
        "quantity_missing_or_excess": f"{short:.5f}",
    }
