"""How a press of a button arrives and is answered: as a form for people, as JSON for programs."""

from collections.abc import Mapping

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response


def asked() -> Mapping[str, object]:
    """Return what was sent, whichever way."""
    if not request.is_json:
        return request.form.to_dict()
    sent = request.get_json()
    if not isinstance(sent, dict):
        abort(400)

    return sent


def done(answer: dict[str, object]) -> Response:
    """Answer a program with JSON, and take a person back to the ledger."""
    if wants_json():
        return jsonify(answer)

    return redirect(url_for("ledger_page.page"), code=303)


def wants_json() -> bool:
    """A form always has a form's content type; what has none is a program."""
    return request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data")


def refuse_politely(bp: Blueprint) -> None:
    """Answer ValueError and LookupError in a blueprint's views with their own words."""
    bp.register_error_handler(ValueError, _refuse)
    bp.register_error_handler(LookupError, _not_found)


def _refuse(mistake: ValueError) -> tuple[Response | str, int]:
    """Say what is wrong with what was asked."""
    if wants_json():
        return jsonify(error=str(mistake)), 400

    return render_template("refused.html", reason=str(mistake)), 400


def _not_found(mistake: LookupError) -> tuple[Response | str, int]:
    """Say what does not exist."""
    if wants_json():
        return jsonify(error=str(mistake)), 404

    return render_template("refused.html", reason=str(mistake)), 404
