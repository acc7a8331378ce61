"""Withdraw a grant that came for nobody: stored nowhere, it would stay good at Katana, unseen."""

import logging

from app.errors import LoginError
from app.katana.oauth import Grant, KatanaLogin

logger = logging.getLogger(__name__)


def withdraw(login: KatanaLogin, grant: Grant) -> None:
    """Revoke `grant` if Katana offers that. Where it fails, a line of the log is all there is.

    Have no transaction open. Not for a user who is connected: it could end the grant that the
    connection now lives on.
    """
    if grant.refresh_token is None or login.settings.revoke_url is None:
        return

    try:
        login.revoke(grant.refresh_token)
    except LoginError as error:
        logger.warning("a grant that is stored nowhere stays valid: %s", error)
