"""Requests and responses of the controls: a form for people, JSON for programs."""

from collections.abc import Mapping

from flask import Blueprint, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response


def asked() -> Mapping[str, object]:
    """Return the fields that were sent, as a form or as JSON."""
    if not request.is_json:
        return request.form.to_dict()
    sent = request.get_json()
    if not isinstance(sent, dict):
        abort(400)

    return sent


def done(answer: dict[str, object]) -> Response:
    """Respond to a program with JSON, and redirect a person to the ledger."""
    if wants_json():
        return jsonify(answer)

    return redirect(url_for("ledger_page.page"), code=303)


def wants_json() -> bool:
    """Whether the client is a program: only a form is sent with a form's content type."""
    return request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data")


def refuse_politely(bp: Blueprint) -> None:
    """Respond to ValueError and LookupError in a blueprint's views with their message."""
    bp.register_error_handler(ValueError, _refuse)
    bp.register_error_handler(LookupError, _not_found)


def _refuse(mistake: ValueError) -> tuple[Response | str, int]:
    """Respond that the request is wrong, and why."""
    if wants_json():
        return jsonify(error=str(mistake)), 400

    return render_template("refused.html", reason=str(mistake)), 400


def _not_found(mistake: LookupError) -> tuple[Response | str, int]:
    """Respond that something does not exist."""
    if wants_json():
        return jsonify(error=str(mistake)), 404

    return render_template("refused.html", reason=str(mistake)), 404
