"""flask connections: list them, show one, refresh one, disconnect one."""

import shutil
import sys
from collections import Counter

import click

from app import connections as parts
from app.connections import history
from app.connections.fleet.keep_alive import Outcome
from app.connections.lifecycle import Revocation
from app.connections.models import Status
from app.errors import NotConnected
from app.operations.commands import connection_table, user_lookup
from app.operations.commands.require_settings import DatabaseGroup

REFRESHED = {
    Outcome.RENEWED: "Renewed.",
    Outcome.ELSEWHERE: "Somebody else is renewing it, or has just done so.",
    Outcome.ENDED: "Katana has ended the grant: its user must connect again.",
    Outcome.PUT_OFF: "Katana did not renew it now. Nothing is lost; it is tried again at next use.",
    Outcome.PAUSING: "It pauses after earlier failures. Nothing is lost; try again later.",
    Outcome.FAILED: "It could not be tried; the log says why.",
}
REVOKED = {
    Revocation.REVOKED: "Disconnected, and revoked at Katana.",
    Revocation.NOT_OFFERED: "Disconnected. KATANA_REVOKE_URL is not set: nothing was revoked.",
    Revocation.FAILED: "Disconnected. Katana did not confirm that the grant is revoked.",
}


@click.group(cls=DatabaseGroup)
def connections() -> None:
    """Look after the connections. Nothing here shows a token."""


@connections.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]))
def list_(status: str | None) -> None:
    """List the connections by e-mail address, and count those that are listed."""
    overview = parts.current().overview
    shown = connection_table.columns(
        shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    )
    click.echo(connection_table.heading(shown))
    counts = Counter(dict.fromkeys([Status(status)] if status else Status, 0))
    for line in overview.lines(Status(status) if status else None):
        click.echo(connection_table.row(line, shown))
        counts[line.status] += 1
    click.echo()
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    click.echo(told if status else f"{counts.total()} in all: {told}")


@connections.command()
@click.argument("user")
def show(user: str) -> None:
    """Show the state and the history of one.

    USER is an e-mail address, the number of a user, or the id of a connection.
    """
    person = user_lookup.find(user)
    happened = history.history(person.user.id, limit=20)
    for line in connection_table.sheet(person.user, person.connection, happened):
        click.echo(line)


@connections.command()
@click.argument("user")
@click.pass_context
def refresh(ctx: click.Context, user: str) -> None:
    """Renew the tokens of one now, however long they are still good."""
    connection = user_lookup.find(user).connected()
    try:
        outcome = parts.current().keep_alive.renew(connection.id)
    except NotConnected:
        raise click.ClickException("This user has disconnected meanwhile.") from None
    click.echo(REFRESHED[outcome])
    ctx.exit(0 if outcome in {Outcome.RENEWED, Outcome.ELSEWHERE} else 1)


@connections.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def disconnect(user: str, yes: bool) -> None:
    """Revoke and forget the tokens of one."""
    person = user_lookup.find(user)
    person.connected()
    if not yes:
        click.confirm(
            f"Disconnect {connection_table.plain(person.user.email)} from Katana?", abort=True
        )
    revocation = parts.current().lifecycle.disconnect(person.user.id)
    click.echo(REVOKED[revocation] if revocation else "It was disconnected meanwhile.")
