"""Three invented factories: what each is called, makes and sells to whom."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One product and its variants: SKU suffix, the attribute's value, price in the currency."""

    name: str
    category: str
    sku: str
    attribute: str
    variants: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Factory:
    """One invented Katana account; `first_id` keeps the ids of different factories apart."""

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


FACTORIES = (
    Factory(
        key="alder-and-spoke",
        display_name="Alder & Spoke Bicycles",
        legal_name="Alder and Spoke Bicycles OÜ",
        makes="City and cargo bikes, built to order",
        city="Tartu",
        country="Estonia",
        currency="EUR",
        first_id=1000,
        people=("Mari Maasikas", "Karl Kuusk", "Liis Lepik"),
        customers=(
            "Jaan Tamm",
            "Northwind Couriers",
            "Piret Saar",
            "Harbour Bike Hire",
            "Oskar Lindqvist",
            "Green Mile Deliveries",
            "Anneli Rebane",
            "Old Town Cycles",
        ),
        products=(
            Product(
                "Alder city bike",
                "Bikes",
                "ALD",
                "Size",
                (("S", "Small", 849), ("M", "Medium", 849), ("L", "Large", 879)),
            ),
            Product(
                "Birch cargo bike",
                "Bikes",
                "BIR",
                "Box",
                (("OPEN", "Open", 2390), ("LID", "With lid", 2590)),
            ),
            Product(
                "Hand-built wheel",
                "Parts",
                "WHL",
                "Position",
                (("F", "Front", 139), ("R", "Rear", 169)),
            ),
            Product(
                "Leather saddle",
                "Parts",
                "SAD",
                "Colour",
                (("HON", "Honey", 79), ("BLK", "Black", 79)),
            ),
        ),
    ),
    Factory(
        key="tallow-and-wick",
        display_name="Tallow & Wick",
        legal_name="Tallow and Wick Ltd",
        makes="Poured candles in stoneware",
        city="Bristol",
        country="United Kingdom",
        currency="GBP",
        first_id=5000,
        people=("Hazel Brook", "Tom Fennimore"),
        customers=(
            "The Quiet Corner Shop",
            "Imogen Hart",
            "Fern & Fable Gifts",
            "Lantern House Hotel",
            "Rupert Vale",
            "Saltmarsh Stores",
            "Clementine Wood",
        ),
        products=(
            Product(
                "Cedar and smoke candle",
                "Candles",
                "CED",
                "Size",
                (("S", "90 g", 14), ("M", "220 g", 26), ("L", "500 g", 48)),
            ),
            Product(
                "Sea salt candle",
                "Candles",
                "SEA",
                "Size",
                (("S", "90 g", 14), ("M", "220 g", 26)),
            ),
            Product(
                "Beeswax tapers",
                "Candles",
                "TAP",
                "Pack",
                (("2", "Pair", 11), ("6", "Six", 29)),
            ),
            Product(
                "Stoneware snuffer",
                "Accessories",
                "SNU",
                "Glaze",
                (("OAT", "Oat", 18), ("INK", "Ink", 18)),
            ),
        ),
    ),
    Factory(
        key="first-light",
        display_name="First Light Coffee Roasters",
        legal_name="First Light Coffee Roasters LLC",
        makes="Small-batch coffee, roasted on Tuesdays",
        city="Portland",
        country="United States",
        currency="USD",
        first_id=9000,
        people=("Noor Haddad", "Elliot Park", "June Okafor", "Sam Rivers"),
        customers=(
            "Cafe Meridian",
            "Paper Boat Bakery",
            "Lena Whitfield",
            "Ninth Street Diner",
            "Marcus Bell",
            "Riverside Co-op",
            "Studio Kiln",
            "Ada Moreno",
            "Blue Door Books",
        ),
        products=(
            Product(
                "Dawn espresso",
                "Coffee",
                "DWN",
                "Bag",
                (("250", "250 g", 13), ("1000", "1 kg", 44)),
            ),
            Product(
                "Ridge filter roast",
                "Coffee",
                "RDG",
                "Bag",
                (("250", "250 g", 15), ("1000", "1 kg", 52)),
            ),
            Product(
                "Night shift decaf",
                "Coffee",
                "NSD",
                "Bag",
                (("250", "250 g", 14), ("1000", "1 kg", 48)),
            ),
            Product(
                "Enamel mug",
                "Goods",
                "MUG",
                "Colour",
                (("CRM", "Cream", 16), ("TEA", "Teal", 16)),
            ),
        ),
    ),
)
