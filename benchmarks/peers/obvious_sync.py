"""The usual sample of a sync: the webhook's handler stores the order, a nightly poll the rest.

It avoids common mistakes: it checks the signature of the raw body, reads the order again if the
delivery may be old, and reads whole lists page by page.
"""

import hmac
import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import requests
from flask import Flask, Response, jsonify, request
from flask_sqlalchemy import SQLAlchemy

PAGE_SIZE = 250
TIMEOUT_SECONDS = 10

db: Any = SQLAlchemy()


class Order(db.Model):  # type: ignore[misc]
    """An order as Katana returned it."""

    __tablename__ = "orders"
    id = db.Column(db.Integer, primary_key=True)
    body = db.Column(db.JSON)


class Polled(db.Model):  # type: ignore[misc]
    """The start of the last poll."""

    __tablename__ = "polled"
    id = db.Column(db.Integer, primary_key=True)
    began_at = db.Column(db.String(40))


def create() -> Flask:
    """The app; API, token and the webhook's secret are in the environment."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    app.add_url_rule("/healthz", view_func=lambda: "ok")
    app.add_url_rule("/webhook", view_func=receive, methods=["POST"])
    app.add_url_rule("/poll", view_func=poll, methods=["POST"])
    app.add_url_rule("/orders", view_func=orders)
    return app


def receive() -> Response:
    """Store the order of a delivery."""
    signature = hmac.new(os.environ["WEBHOOK_TOKEN"].encode(), request.get_data(), sha256)
    if not hmac.compare_digest(signature.hexdigest(), request.headers.get("x-sha2-signature", "")):
        return Response(status=401)

    told = request.get_json()
    order_id = int(told["object"]["id"])
    if told["action"] == "sales_order.deleted":
        db.session.execute(db.delete(Order).where(Order.id == order_id))
    else:
        db.session.merge(Order(id=order_id, body=_ask(f"/sales_orders/{order_id}")))
    db.session.commit()
    return Response(status=204)


def poll() -> Response:
    """Store all orders that have changed since the last poll."""
    began_at = datetime.now(UTC).isoformat()
    last = db.session.get(Polled, 1)
    query: dict[str, object] = {"limit": PAGE_SIZE}
    if last:
        query["updated_at_min"] = last.began_at
    page = 1
    while rows := _ask("/sales_orders", query | {"page": page})["data"]:
        for row in rows:
            db.session.merge(Order(id=row["id"], body=row))
        page += 1
    db.session.merge(Polled(id=1, began_at=began_at))
    db.session.commit()
    return Response(status=204)


def orders() -> Response:
    """All stored orders, for the comparison."""
    return jsonify([order.body for order in db.session.scalars(db.select(Order))])


def _ask(path: str, query: dict[str, object] | None = None) -> Any:
    answer = requests.get(
        os.environ["API_URL"] + path,
        params=query,
        headers={"Authorization": f"Bearer {os.environ['API_TOKEN']}"},
        timeout=TIMEOUT_SECONDS,
    )
    answer.raise_for_status()
    return answer.json()
