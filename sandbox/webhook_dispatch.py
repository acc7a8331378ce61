"""Creates the deliveries of an event, and applies armed faults to them."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.clock import iso
from sandbox.deliveries import Delivery
from sandbox.events import Event
from sandbox.faults import Fault
from sandbox.webhooks import Webhook

if TYPE_CHECKING:
    from sandbox.state import Memory

_SIGNATURES = {"forge": "wrong", "unsigned": "none"}


def announce(memory: "Memory", factory: str, event: Event) -> None:
    """Send an event to each of a factory's enabled webhooks that has subscribed to it."""
    for webhook in memory.webhooks.all(factory):
        if webhook.enabled and event.action in webhook.subscribed_events:
            payload = event.payload(webhook.id, webhook.base, memory.rules.webhook_ids)
            deliver(memory, webhook, event.action, json.dumps(payload).encode())


def deliver(
    memory: "Memory", webhook: Webhook, action: str, body: bytes, signature: str = "right"
) -> Delivery:
    """Send one body to one webhook, with a fault if one applies; return the logged delivery."""
    fault = memory.faults.take("delivery")
    delivery = Delivery(
        n=0,
        webhook=webhook.id,
        url=webhook.url,
        at=iso(memory.clock.now()),
        action=action,
        body=body,
        signature=signature,
        fault=fault.fault if fault else None,
    )
    if fault is None:
        delivery = memory.deliveries.write(delivery)
        memory.sender.send(delivery)
        return delivery

    return _spoiled(memory, delivery, fault)


def _spoiled(memory: "Memory", delivery: Delivery, fault: Fault) -> Delivery:
    if fault.fault == "lose":
        return memory.deliveries.write(replace(delivery, state="lost"))

    if fault.fault == "body":
        delivery = replace(delivery, body=(fault.text or "").encode())
    signature = _SIGNATURES.get(fault.fault, delivery.signature)
    delivery = memory.deliveries.write(replace(delivery, signature=signature))
    late = fault.seconds if fault.fault in ("delay", "reorder") else 0
    memory.sender.send(delivery, late=late, after_next=fault.fault == "reorder")
    if fault.fault == "double":
        memory.sender.send(memory.deliveries.write(delivery))
    return delivery
