"""What the log tells of who comes, and who is turned away: a line each, with fields for machines.

The fields are those of `app/connections/history.py`, which tells what happens to a connection. None
holds an e-mail address, or anything else that was typed in.
"""

import logging
from collections.abc import Mapping
from enum import StrEnum

from flask import g, has_app_context

logger = logging.getLogger(__name__)


class Audit(StrEnum):
    """What happens."""

    SIGNED_UP = "signed_up"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    #: The password was wrong. `user_id` is None where the address has no account.
    SIGN_IN_REFUSED = "sign_in_refused"
    #: The data that is kept about the user was downloaded.
    EXPORTED = "exported"
    #: The password was wrong with which an account was to be deleted.
    DELETION_REFUSED = "deletion_refused"
    DELETED = "deleted"
    #: A limit was met. `detail` is the endpoint.
    THROTTLED = "throttled"
    #: It ended in an error page. `detail` is the class of the error, such as `AttemptRefused`.
    FAILED = "failed"


WARNINGS = frozenset({Audit.SIGN_IN_REFUSED, Audit.DELETION_REFUSED, Audit.THROTTLED})


def tell(event: Audit, user_id: int | None, detail: str | None = None) -> None:
    """Log it."""
    level = logging.WARNING if event in WARNINGS else logging.INFO
    who = f"user {user_id}" if user_id else "somebody"
    told = f"{who}: {event.replace('_', ' ')}" + (f" ({detail})" if detail else "")
    logger.log(level, "%s", told, extra=fields(event, user_id, detail))


def fields(event: Audit, user_id: int | None, detail: str | None = None) -> Mapping[str, object]:
    """The same for a line that says more."""
    return {"event": event, "detail": detail, "user_id": user_id}


def known_user_id() -> int | None:
    """Who is signed in, if this request has asked already: the database may be what failed."""
    user = g.get("_login_user") if has_app_context() else None  # where Flask-Login keeps it
    user_id: int | None = getattr(user, "id", None)
    return user_id
