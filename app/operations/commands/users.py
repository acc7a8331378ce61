"""flask users: export a user's data, or delete an account, on a user's request."""

import click

from app import connections as parts
from app.accounts import personal_data
from app.accounts.security_log import Audit, tell
from app.connections.lifecycle import Revocation
from app.database.db import db
from app.operations.commands import connection_table, user_lookup
from app.operations.commands.require_settings import DatabaseGroup

DELETED = {
    Revocation.REVOKED: "Deleted, and revoked at Katana.",
    Revocation.NOT_OFFERED: "Deleted. KATANA_REVOKE_URL is not set: nothing was revoked.",
    Revocation.FAILED: "Deleted. Katana did not confirm that the grant is revoked.",
    None: "Deleted. There was no connection.",
}


@click.group(cls=DatabaseGroup)
def users() -> None:
    """Give users their data, and delete their accounts."""


@users.command()
@click.argument("user")
def export(user: str) -> None:
    """Print everything that is kept about one, as JSON; no token is in it.

    USER is an e-mail address, the number of a user, or the id of a connection.
    """
    user_id = user_lookup.find(user).user.id
    tell(Audit.EXPORTED, user_id)
    for piece in personal_data.export(db.engine, user_id):
        click.echo(piece, nl=False)


@users.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(user: str, yes: bool) -> None:
    """Disconnect one, and delete the account with everything that is kept about the user."""
    person = user_lookup.find(user).user
    if not yes:
        click.confirm(
            f"Delete {connection_table.plain(person.email)} and everything that is kept?",
            abort=True,
        )
    revocation = parts.current().lifecycle.leave(person.id, personal_data.erase)
    tell(Audit.DELETED, person.id)
    click.echo(DELETED[revocation])
