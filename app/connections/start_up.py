"""Before the first request: try the keys, and store token responses that wait on this host.

With a wrong key every page would fail, and every try would start a back-off. So the keys are tried
on a sample: the tokens that were refreshed most recently, and those that were refreshed longest
ago, which may need an old key. One or two damaged rows stop no start.
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

TRIED = 50  # connections, most recent and oldest each
DAMAGED = 2  # connections that may fail to decrypt although their key is right

logger = logging.getLogger(__name__)


def check(app: Flask) -> None:
    """Refuse wrong keys, then store what an earlier process could not.

    Raises ConfigurationError, which names each key that does not fit, or a pooler that takes no
    session of this app. If the database does not respond, or has no tables yet, the keys are not
    tried.
    """
    with app.app_context():
        try:
            _try_keys(current())
            _store_staged(current())
        finally:
            db.engine.dispose()  # a server that forks after this must not share its sessions


def _try_keys(parts: Connections) -> None:
    try:
        faults = _faults(parts.sealed_tokens, parts.vault)
    except SQLAlchemyError as error:
        if poolers.refuses_settings(error):  # it will for as long as its settings stay
            raise ConfigurationError((f"{poolers.REFUSES} {poolers.REMEDY}",)) from None

        logger.warning("the keys were not tried: the database fails (%s)", type(error).__name__)
        return
    if faults:
        raise ConfigurationError(tuple(faults))


def _store_staged(parts: Connections) -> None:
    """Says once if this host can stage nothing."""
    if not parts.staged.is_writable():
        logger.warning(
            "the instance folder cannot be written: a token response that the database does not "
            "take is lost if the process ends before it can be saved"
        )
    parts.refresh.store_staged()


def _faults(tokens: SealedTokens, vault: Vault) -> Sequence[str]:
    opened: set[str] = set()
    closed: dict[str, set[UUID]] = defaultdict(set)
    for value in tokens.at_both_ends(TRIED):
        if value.kid is None:
            continue

        try:
            vault.open(value.sealed, value.place)
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
            f"TOKEN_ENCRYPTION_KEYS lacks the key {kid!r}, which has sealed stored tokens: "
            "put it back, behind the first."
        )

    return (
        f"TOKEN_ENCRYPTION_KEYS has another key under the name {kid!r} than the one which has "
        "sealed stored tokens: put that one back."
    )
