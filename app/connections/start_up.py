"""Checks before the first request: test the encryption keys, and store staged responses.

With a wrong key every page would fail. So the keys are tested on a sample of the stored tokens: the
most recently refreshed ones, and those refreshed longest ago, which may need an old key. One or two
damaged rows do not prevent the start.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.connections import Connections, current
from app.connections.fleet.key_rotation import SealedTokens
from app.connections.host import db
from app.connections.vault import Vault
from app.database import poolers
from app.errors import ConfigurationError, SealBroken

TRIED = 50  # connections of each kind: most recently refreshed, and longest ago
DAMAGED = 2  # connections that may fail to decrypt although their key is right

logger = logging.getLogger(__name__)


def check(app: Flask) -> None:
    """Test the keys, then store the responses that an earlier process could not save.

    Raises ConfigurationError, which names each key that is wrong or missing, or a pooler that
    refuses this app's sessions. If the database is unavailable, or has no tables yet, the keys are
    not tested.
    """
    with app.app_context():
        try:
            _try_keys(current())
            _store_staged(current())
        finally:
            db.engine.dispose()  # forked workers must not share its connections


def _try_keys(parts: Connections) -> None:
    try:
        faults = _faults(parts.sealed_tokens, parts.vault)
    except SQLAlchemyError as error:
        if poolers.refuses_settings(error):  # permanent, until its configuration is changed
            raise ConfigurationError((f"{poolers.REFUSES} {poolers.REMEDY}",)) from None

        logger.warning("the keys were not tested: database error (%s)", type(error).__name__)
        return
    if faults:
        raise ConfigurationError(tuple(faults))


def _store_staged(parts: Connections) -> None:
    """Also warns once if this host cannot stage a response."""
    if not parts.staged.is_writable():
        logger.warning(
            "the instance folder is not writable: a token response that cannot be saved in the "
            "database is lost if the process ends first"
        )
    parts.refresh.store_staged()


def _faults(tokens: SealedTokens, vault: Vault) -> Sequence[str]:
    opened: set[str] = set()
    closed: dict[str, set[UUID]] = defaultdict(set)
    for value in tokens.newest_and_oldest(TRIED):
        if value.kid is None:
            continue

        try:
            vault.open(value.sealed, value.aad)
        except SealBroken:
            closed[value.kid].add(value.connection_id)
        else:
            opened.add(value.kid)
    damaged = DAMAGED if opened else 0
    return [
        _sentence(kid, vault)
        for kid, connections in closed.items()
        if kid not in opened and len(connections) > damaged
    ]


def _sentence(kid: str, vault: Vault) -> str:
    if not vault.knows(kid):
        return (
            f"TOKEN_ENCRYPTION_KEYS lacks the key {kid!r}, which encrypted stored tokens: "
            "add it again, after the first one."
        )

    return (
        f"TOKEN_ENCRYPTION_KEYS has another key with the id {kid!r} than the one that encrypted "
        "stored tokens: restore that one."
    )
