"""flask connections keep-alive, and what is needed after a restore: for all connections at once."""

import math
from collections import Counter

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app import connections as parts
from app.connections.fleet.keep_alive import Outcome
from app.errors import TryAgainLater
from app.operations.commands.graceful_shutdown import Stop, stop_at_signals
from app.operations.commands.progress import progress
from app.operations.commands.require_settings import DatabaseCommand

DAY_SECONDS = 24 * 3600
#: Longer than any connection has existed, and still a date that every database can represent.
MOST_DAYS = 36_500
#: The outcomes with exit status 0. Another run could not improve them.
WELL = {Outcome.RENEWED, Outcome.ELSEWHERE, Outcome.ENDED, Outcome.LEFT}


def _no_nan(_ctx: click.Context, _parameter: click.Parameter, days: float) -> float:
    """Refuse NaN: it is neither below nor above a limit, so `FloatRange` accepts it."""
    if math.isnan(days):
        raise click.BadParameter("nan is no number of days.")

    return days


@click.command("keep-alive", cls=DatabaseCommand)
@click.option(
    "--idle-days",
    type=click.FloatRange(0, MOST_DAYS),
    default=7,
    show_default=True,
    callback=_no_nan,
)
@click.option("--in-flight", type=click.IntRange(1, 100), default=8, show_default=True)
@click.option("--watch", is_flag=True, help="Go on for ever.")
@click.option(
    "--every",
    type=click.IntRange(1, DAY_SECONDS),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: how long to wait between rounds.",
)
@with_appcontext
@click.pass_context
def keep_alive(
    ctx: click.Context, idle_days: float, in_flight: int, watch: bool, every: int
) -> None:
    """Renew what nobody has renewed for long, so that no connection goes stale.

    Any number of hosts may do this at once. Ctrl-C or SIGTERM ends it when those under way are
    finished. The exit status is 1 where a connection could not be renewed and may be later.
    """
    with stop_at_signals() as stop:
        well = _round(idle_days, in_flight, stop)
        while watch and not stop.asked():
            stop.wait(every)
            if not stop.asked():
                well = _watched_round(idle_days, in_flight, stop)
    ctx.exit(0 if well else 1)


def _watched_round(idle_days: float, in_flight: int, stop: Stop) -> bool:
    try:
        return _round(idle_days, in_flight, stop)
    except SQLAlchemyError as error:  # the database may be back in the next round
        click.echo(f"The database failed ({type(error).__name__}).", err=True)
        return False


def _round(idle_days: float, in_flight: int, stop: Stop) -> bool:
    """Refresh all connections that are idle now; whether no other run is needed."""
    parts.current().refresh.store_staged()
    fleet = parts.current()
    before = fleet.idle.moment(idle_days * DAY_SECONDS)
    counts: Counter[Outcome] = Counter()
    in_trouble = False
    with progress("Renewing", fleet.idle.count(before)) as done:
        try:
            for outcome in fleet.keep_alive.run(before, in_flight, stop.asked):
                counts[outcome] += 1
                done(1)
        except TryAgainLater:
            in_trouble = True
    click.echo(_summary(counts))
    if in_trouble:
        click.echo(
            "Katana renews none at present. Nothing is lost: run this again later.", err=True
        )
    return not in_trouble and counts.keys() <= WELL


def _summary(counts: Counter[Outcome]) -> str:
    told = [f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]]
    return "; ".join(told) + "." if told else "Nothing was idle for so long."


@click.command("verify-before-use", cls=DatabaseCommand)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_appcontext
def verify_before_use(yes: bool) -> None:
    """After restoring a backup: trust no stored token until a refresh has verified it.

    Each active connection is then renewed before it is used again. Where its refresh token was
    spent after the backup was made, its user is asked to connect again.
    """
    if not yes:
        click.confirm("Was this database restored from a backup?", abort=True)
    parts.current().refresh.store_staged()
    fleet = parts.current()
    before = fleet.idle.moment(0)
    marked = 0
    with progress("Marking", fleet.idle.count(before)) as done:
        for batch in fleet.restore.mark_unverified(before):
            marked += batch
            done(batch)
    click.echo(
        f"Marked: {marked}. Each is verified at its next use; all at once by "
        "`flask connections keep-alive --idle-days 0`."
    )
