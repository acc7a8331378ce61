"""The ledger's buttons: rules, faults, expire, kill, reset; as forms or as JSON."""

from collections.abc import Mapping
from dataclasses import asdict

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from sandbox import given
from sandbox.faults import fault_from
from sandbox.state import memory, sandbox

bp = Blueprint("controls", __name__)


@bp.post("/rules")
def change_rules() -> Response:
    """Change some of the rules."""
    memory().rules = memory().rules.changed(_asked())
    return _done(asdict(memory().rules))


@bp.post("/faults")
def arm_fault() -> Response:
    """Arm one fault against the requests to come."""
    memory().faults.arm(fault_from(_asked()))
    return _done(_armed())


@bp.delete("/faults")
@bp.post("/faults/clear")
def clear_faults() -> Response:
    """Disarm all faults; a form cannot send DELETE, so it has a path of its own."""
    memory().faults.clear()
    return _done(_armed())


@bp.post("/expire")
def expire() -> Response:
    """Let the access tokens of one family, or of all, expire now."""
    return _done({"expired": memory().families.expire(_family())})


@bp.post("/kill")
def kill() -> Response:
    """End one family, or all, as when the user takes the access back at Katana."""
    return _done({"killed": memory().families.kill(_family())})


@bp.post("/reset")
def reset() -> Response:
    """Start again with nothing in memory and the rules as they were at first."""
    sandbox().start_again()
    return _done({})


@bp.errorhandler(ValueError)
def refuse(mistake: ValueError) -> tuple[Response | str, int]:
    """Say what is wrong with what was asked."""
    if _wants_json():
        return jsonify(error=str(mistake)), 400

    return render_template("refused.html", reason=str(mistake)), 400


@bp.errorhandler(LookupError)
def not_found(mistake: LookupError) -> tuple[Response | str, int]:
    """Say which family does not exist."""
    if _wants_json():
        return jsonify(error=str(mistake)), 404

    return render_template("refused.html", reason=str(mistake)), 404


def _asked() -> Mapping[str, object]:
    """Return what was sent, whichever way."""
    if not request.is_json:
        return request.form.to_dict()
    sent = request.get_json()
    if not isinstance(sent, dict):
        abort(400)

    return sent


def _family() -> int | None:
    """Return the id of the family that is meant, None for all of them."""
    if request.is_json and not request.get_data():
        return None
    family = _asked().get("family")
    if family is None or family == "":
        return None

    return given.whole_number("family", family, low=1, high=10**9)


def _armed() -> dict[str, object]:
    return {"faults": [fault.as_json() for fault in memory().faults.armed()]}


def _done(answer: dict[str, object]) -> Response:
    """Answer a program with JSON, and take a person back to the ledger."""
    if _wants_json():
        return jsonify(answer)

    return redirect(url_for("ledger_page.page"), code=303)


def _wants_json() -> bool:
    """A form always has a form's content type; what has none is a program."""
    return request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data")
