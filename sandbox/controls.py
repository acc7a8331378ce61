"""The ledger's buttons: rules, faults, expire, kill, reset; as forms or as JSON."""

from dataclasses import asdict

from flask import Blueprint, request
from werkzeug.wrappers import Response

from sandbox import validation
from sandbox.faults import fault_from
from sandbox.form_or_json import asked, done, refuse_politely
from sandbox.state import memory, sandbox

bp = Blueprint("controls", __name__)
refuse_politely(bp)


@bp.post("/rules")
def change_rules() -> Response:
    """Change some of the rules."""
    memory().rules = memory().rules.changed(asked())
    return done(asdict(memory().rules))


@bp.post("/faults")
def arm_fault() -> Response:
    """Arm one fault for later requests."""
    memory().faults.arm(fault_from(asked()))
    return done(_armed())


@bp.delete("/faults")
@bp.post("/faults/clear")
def clear_faults() -> Response:
    """Disarm all faults; a form cannot send DELETE, so it has a path of its own."""
    memory().faults.clear()
    return done(_armed())


@bp.post("/expire")
def expire() -> Response:
    """Make the access tokens of one family, or of all, expire now."""
    return done({"expired": memory().families.expire(_family())})


@bp.post("/kill")
def kill() -> Response:
    """Revoke one family, or all, as a user can at Katana."""
    return done({"killed": memory().families.kill(_family())})


@bp.post("/reset")
def reset() -> Response:
    """Clear the memory, and reset the rules."""
    sandbox().start_again()
    return done({})


def _family() -> int | None:
    """Return the id of the family that was sent, None for all."""
    if request.is_json and not request.get_data():
        return None
    family = asked().get("family")
    if family is None or family == "":
        return None

    return validation.whole_number("family", family, low=1, high=10**9)


def _armed() -> dict[str, object]:
    return {"faults": [fault.as_json() for fault in memory().faults.armed()]}
