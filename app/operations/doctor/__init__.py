"""flask doctor: checks everything that this app needs, with one small function for each check."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from queue import Empty, SimpleQueue

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from app import connections
from app.database.db import db
from app.errors import ConfigurationError
from app.katana.client import new_session
from app.operations.doctor import (
    database,
    environment,
    katana,
    mailed,
    served,
    stored,
    synced,
)
from app.operations.doctor.findings import Check, Examined, Finding, Level, fault, ok
from app.settings.config import Settings

ABOUT_ADDRESS: tuple[Check, ...] = (
    served.redirect_uri,
    served.ca_file,
    served.address,
    served.proxies,
    served.cookies,
    served.limits,
)
ABOUT_DATABASE: tuple[Check, ...] = (
    database.migrated,
    database.writable,
    database.isolation,
    database.disk,
    stored.keys,
    stored.moments,
    stored.connections,
    stored.staged,
    mailed.mails,
    synced.worker,
    synced.webhooks,
)
ABOUT_KATANA: tuple[Check, ...] = (
    environment.environment,
    katana.one_katana,
    katana.authorization,
    katana.login,
    katana.api,
    katana.clock,
)
SECONDS = 60.0  # for all checks together
COLORS = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_appcontext
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check everything that this app needs, and say how to mend what is amiss.

    Nothing is changed, and no secret is shown. The exit status is 1 where there is a fault.
    """
    findings = []
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    for finding in in_time(_findings(app), SECONDS):
        findings.append(finding)
        if not as_json:
            _show(finding)
    worst = max((finding.level for finding in findings), key=list(Level).index)
    if as_json:
        told = {"level": worst, "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(told, indent=2))
    ctx.exit(1 if worst is Level.FAULT else 0)


def in_time(findings: Iterator[Finding], seconds: float) -> Iterator[Finding]:
    """The findings of the first `seconds`; after that, one more finding about the missing rest.

    Most waits have their own limit, but a name look-up or a disk may block for long.
    """
    found: SimpleQueue[Finding | None] = SimpleQueue()

    def find() -> None:
        try:
            for finding in findings:
                found.put(finding)
        except Exception as error:  # else the caller would wait until the time is over
            found.put(_unseen("doctor", error))
        finally:
            found.put(None)

    until = time.monotonic() + seconds
    # A daemon thread: a check that never ends does not keep the process alive.
    threading.Thread(target=find, daemon=True).start()
    try:
        while finding := found.get(timeout=max(0, until - time.monotonic())):
            yield finding
    except Empty:
        yield fault(
            "time",
            f"The check after this one has not ended in {seconds:.0f} s in all.",
            "See to name servers, network disks and firewalls that drop without a word.",
        )


def _findings(app: Flask) -> Iterator[Finding]:
    settings: Settings | ConfigurationError = app.extensions["settings"]
    if isinstance(settings, ConfigurationError):
        for sentence in settings.faults:
            yield fault("settings", sentence, "Set it in the environment or in .env.")
        return

    yield ok("settings", "They are complete, and no secret is easy to guess.")
    with app.app_context(), new_session() as http:
        examined = Examined(app, settings, connections.current(), db.engine, http)
        yield from _all(ABOUT_ADDRESS, examined)
        (reachable,) = _all((database.reachable,), examined)
        yield reachable
        if reachable.level is Level.OK:
            yield from _all(ABOUT_DATABASE, examined)
        yield from _all(ABOUT_KATANA, examined)


def _all(checks: tuple[Check, ...], examined: Examined) -> Iterator[Finding]:
    for check in checks:
        try:
            yield from check(examined)
        except Exception as error:  # an unexpected error must not prevent the other checks
            yield _unseen(check.__name__.replace("_", " "), error)


def _unseen(check: str, error: Exception) -> Finding:
    # Only the class: the text of the error may contain a value.
    return fault(check, f"It could not be seen ({type(error).__name__}).", "Mend the others first.")


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:<8}", fg=COLORS[finding.level])
    click.echo(f"{level} {finding.check:<15} {finding.says}")
    if finding.remedy:
        click.echo(f"{'':<24} {finding.remedy}")
