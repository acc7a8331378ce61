"""Checks that the copies are kept up to date: by a worker, and by webhooks."""

from collections.abc import Iterator

from sqlalchemy import func, select

from app import sync
from app.database.engine import single_reads
from app.database.leased_rows import first
from app.operations.doctor.findings import Examined, Finding, ok, warning
from app.sync.models import Detail, SyncCursor, Webhook, WebhookState

LATE_SECONDS = 180.0
WHY = {
    Detail.FORBIDDEN: "Katana does not allow webhooks to these users (their role or plan)",
    Detail.NOT_HTTPS: "Katana sends to https only, and KATANA_REDIRECT_URI is http",
    Detail.REFUSED: "Katana refuses them (the log says how)",
}


def worker(examined: Examined) -> Iterator[Finding]:
    """Lists that are due are read."""
    clock, rows = sync.current().clock, sync.current().cursors.rows
    free = select(clock.database_time().label("now"), SyncCursor.due_at).where(rows.is_free())
    oldest = first(free, rows.ranges(clock), 1)
    with single_reads(examined.engine).connect() as database:
        found = database.execute(oldest).first()
    late = (found.now - found.due_at).total_seconds() if found else 0.0
    if late <= LATE_SECONDS:
        yield ok("worker", "What is due is read.")
        return

    yield warning(
        "worker",
        f"A list at Katana has been due for {late / 60:.0f} minutes, and no worker reads it.",
        "Let `flask worker` run, on any host; with more connections, more than one.",
    )


def webhooks(examined: Examined) -> Iterator[Finding]:
    """Katana reports changes by webhook. Without one, each list is requested once a minute."""
    counted = select(Webhook.state, Webhook.detail, func.count()).group_by(
        Webhook.state, Webhook.detail
    )
    with single_reads(examined.engine).connect() as database:
        found = {(state, detail): many for state, detail, many in database.execute(counted)}
    active = sum(many for (state, _), many in found.items() if state == WebhookState.ACTIVE)
    without = {
        Detail(detail): many
        for (state, detail), many in found.items()
        if state == WebhookState.UNAVAILABLE and detail
    }
    if not without:
        yield ok("webhooks", f"{active} connections have one, and none goes without.")
        return

    told = "; ".join(f"{many} have none: {WHY[detail]}" for detail, many in without.items())
    yield warning(
        "webhooks",
        f"{active} connections have one; {told}.",
        "These are asked for changes once a minute, which works. A webhook is tried daily.",
    )
