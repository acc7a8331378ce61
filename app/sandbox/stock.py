"""What each invented factory has in Katana: records with the keys and types of Katana's examples.

Content follows from counting, not from chance, so every start shows the same factory; only the
dates move along, so that its orders are always recent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.sandbox.clock import iso
from app.sandbox.factories import FACTORIES, Factory, Product
from app.sandbox.orders import sales_orders

Record = dict[str, Any]

_BLANK_ADDRESS = {"line_1": "", "line_2": "", "city": "", "state": "", "zip": "", "country": ""}


@dataclass(frozen=True)
class Stock:
    """Everything that the API can tell about one factory; lists are in Katana's order."""

    factory: Record
    lists: dict[str, list[Record]]


def stock_of_all(now: datetime) -> dict[str, Stock]:
    """Return each factory's records by its key, dated back from `now`."""
    return {factory.key: _stock(factory, now) for factory in FACTORIES}


def _stock(factory: Factory, now: datetime) -> Stock:
    founded = now - timedelta(days=200)
    customers = [_customer(factory, n, founded) for n in range(len(factory.customers))]
    products = [_product(factory, n, p, founded) for n, p in enumerate(factory.products)]
    variants = [variant for product in products for variant in product["variants"]]
    lists = {
        "users": [_user(factory, n) for n in range(len(factory.people))],
        "locations": [_location(factory, founded)],
        "customers": customers[::-1],
        "products": products[::-1],
        "variants": variants[::-1],
        "inventory": [_inventory(factory, n, v) for n, v in enumerate(variants)],
        "sales_orders": sales_orders(factory, customers, variants, now)[::-1],
    }
    return Stock(_account(factory), lists)


def _account(factory: Factory) -> Record:
    location = factory.first_id + 1
    return {
        "legal_address": _BLANK_ADDRESS
        | {"line_1": "Workshop Lane 1", "city": factory.city, "country": factory.country},
        "legal_name": factory.legal_name,
        "display_name": factory.display_name,
        "base_currency_code": factory.currency,
        "default_so_delivery_time": "14",
        "default_po_lead_time": "14",
        "default_manufacturing_location_id": location,
        "default_purchases_location_id": location,
        "default_sales_location_id": location,
        "inventory_closing_date": None,
    }


def _user(factory: Factory, n: int) -> Record:
    first, last = factory.people[n].split()
    email = f"{first}@{factory.key}.example.com".lower()
    return {"id": factory.first_id + 40 + n, "firstName": first, "lastName": last, "email": email}


def _location(factory: Factory, founded: datetime) -> Record:
    return {
        "id": factory.first_id + 1,
        "name": "Main location",
        "legal_name": factory.legal_name,
        "address_id": factory.first_id + 2,
        "address": {"id": factory.first_id + 2} | _BLANK_ADDRESS,
        "is_primary": True,
        "sales_allowed": True,
        "manufacturing_allowed": True,
        "purchase_allowed": True,
        **_written(founded),
        "deleted_at": None,
    }


def _customer(factory: Factory, n: int, founded: datetime) -> Record:
    name = factory.customers[n]
    is_person = len(name.split()) == 2 and n % 2 == 0
    first, last = name.split() if is_person else ("", "")
    mailbox = "".join(letter for letter in name.lower() if letter.isalnum())
    return {
        "id": factory.first_id + 70 + n,
        "name": name,
        "first_name": first,
        "last_name": last,
        "company": "" if is_person else name,
        "email": f"{mailbox}@example.com",
        "phone": "",
        "comment": "",
        "currency": factory.currency,
        "reference_id": None,
        "category": None,
        "discount_rate": None,
        "default_billing_id": None,
        "default_shipping_id": None,
        "addresses": [],
        **_written(founded + timedelta(days=3 * n)),
        "deleted_at": None,
    }


def _product(factory: Factory, n: int, product: Product, founded: datetime) -> Record:
    product_id = factory.first_id + 100 + n
    written = _written(founded + timedelta(days=n))
    return {
        "id": product_id,
        "name": product.name,
        "uom": "pcs",
        "category_name": product.category,
        "is_sellable": True,
        "is_producible": True,
        "is_purchasable": False,
        "is_auto_assembly": False,
        "type": "product",
        "default_supplier_id": None,
        "additional_info": "",
        "batch_tracked": False,
        "serial_tracked": False,
        "operations_in_sequence": False,
        "purchase_uom": None,
        "purchase_uom_conversion_rate": None,
        "custom_field_collection_id": None,
        "variants": [
            _variant(product_id, m, product, written) for m in range(len(product.variants))
        ],
        "configs": [
            {
                "id": product_id + 400,
                "product_id": product_id,
                "name": product.attribute,
                "values": [value for _, value, _ in product.variants],
            }
        ],
        **written,
        "archived_at": None,
    }


def _variant(product_id: int, m: int, product: Product, written: Record) -> Record:
    suffix, value, price = product.variants[m]
    return {
        "id": product_id * 10 + m,
        "product_id": product_id,
        "sku": f"{product.sku}-{suffix}",
        "sales_price": price,
        "purchase_price": 0,
        "type": "product",
        "internal_barcode": "",
        "registered_barcode": "",
        "supplier_item_codes": [],
        "lead_time": 3,
        "minimum_order_quantity": 1,
        "config_attributes": [{"config_name": product.attribute, "config_value": value}],
        "custom_fields": [],
        **written,
    }


def _inventory(factory: Factory, n: int, variant: Record) -> Record:
    in_stock, committed, safety = (7 * n + 4) % 23, (3 * n + 2) % 9, 5
    cost = variant["sales_price"] * 0.42
    return {
        "variant_id": variant["id"],
        "location_id": factory.first_id + 1,
        "safety_stock_level": f"{safety:.5f}",
        "reorder_point": f"{safety:.5f}",
        "average_cost": f"{cost:.10f}",
        "value_in_stock": f"{cost * in_stock:.10f}",
        "quantity_in_stock": f"{in_stock:.5f}",
        "quantity_committed": f"{committed:.5f}",
        "quantity_expected": "0.00000",
        "quantity_missing_or_excess": f"{in_stock - committed - safety:.5f}",
        "quantity_potential": None,
    }


def _written(moment: datetime) -> Record:
    return {"created_at": iso(moment), "updated_at": iso(moment)}
