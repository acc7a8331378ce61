"""flask worker: runs all background work."""

import click
from flask import current_app
from flask.cli import with_appcontext

from app.operations.commands.graceful_shutdown import stop_at_signals
from app.operations.commands.require_settings import DatabaseCommand
from app.operations.worker import jobs
from app.operations.worker.loop import Worker


@click.command(cls=DatabaseCommand)
@click.option(
    "--threads",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="How much one worker does at the same time.",
)
@with_appcontext
def worker(threads: int) -> None:
    """Keep the copies of Katana's data in step, and the connections alive.

    Any number of workers may run, on any number of hosts. Ctrl-C or SIGTERM ends one when the
    pages under way are stored; what a killed one was reading is read by another within a minute.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    with stop_at_signals() as stop:
        click.echo("Working. Ctrl-C ends it.")
        Worker(app, jobs(), threads, stop).run()
