"""The security log: one line with structured fields for each sign-in, refusal and so on.

The fields are those of `app/connections/history.py`, which logs the events of a connection. None
has an e-mail address or other user input.
"""

import logging
from collections.abc import Mapping
from enum import StrEnum

from flask import g, has_app_context

logger = logging.getLogger(__name__)


class Audit(StrEnum):
    """The events."""

    SIGNED_UP = "signed_up"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    #: The password was wrong. `user_id` is None if the address has no account.
    SIGN_IN_REFUSED = "sign_in_refused"
    #: The user has downloaded their data.
    EXPORTED = "exported"
    #: The password was wrong in the form that deletes the account.
    DELETION_REFUSED = "deletion_refused"
    DELETED = "deleted"
    #: A rate limit was reached. `detail` is the endpoint.
    THROTTLED = "throttled"
    #: The request ended in an error page. `detail` is the class of the error, such as
    #: `AttemptRefused`.
    FAILED = "failed"


WARNINGS = frozenset({Audit.SIGN_IN_REFUSED, Audit.DELETION_REFUSED, Audit.THROTTLED})


def tell(event: Audit, user_id: int | None, detail: str | None = None) -> None:
    """Log an event."""
    level = logging.WARNING if event in WARNINGS else logging.INFO
    who = f"user {user_id}" if user_id else "somebody"
    told = f"{who}: {event.replace('_', ' ')}" + (f" ({detail})" if detail else "")
    logger.log(level, "%s", told, extra=fields(event, user_id, detail))


def fields(event: Audit, user_id: int | None, detail: str | None = None) -> Mapping[str, object]:
    """The structured fields of an event, for other log lines."""
    return {"event": event, "detail": detail, "user_id": user_id}


def known_user_id() -> int | None:
    """The signed-in user's id, if already loaded. No query: the database may be what failed."""
    user = g.get("_login_user") if has_app_context() else None  # where Flask-Login keeps it
    user_id: int | None = getattr(user, "id", None)
    return user_id
