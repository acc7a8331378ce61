"""Checks the stored data: the keys, and the state of the connections."""

from collections.abc import Iterator, Sequence

from app.connections.fleet.key_rotation import KeyInUse, SealedValue
from app.errors import SealBroken
from app.operations.doctor.findings import Examined, Finding, fault, ok, warning

MISDATED_SHOWN = 3
OVERDUE_DAYS = 8  # `flask connections keep-alive` refreshes after 7


def keys(examined: Examined) -> Iterator[Finding]:
    """Each key that sealed a stored token is configured and opens it; all use the first key."""
    uses = examined.connections.sealed_tokens.keys_in_use()
    yield _needed(examined, uses)
    yield _opening(examined, uses)


def _needed(examined: Examined, uses: Sequence[KeyInUse]) -> Finding:
    first, *others = (key.kid for key in examined.settings.token_keys)
    known = {first, *others}
    missing = [f"{use.kid or '?'} ({use.values})" for use in uses if use.kid not in known]
    old = [use.kid for use in uses if use.kid in others]
    if missing:
        return fault(
            "keys",
            f"Tokens do not open, for want of these keys: {', '.join(missing)}.",
            "Add them to TOKEN_ENCRYPTION_KEYS again, behind the first.",
        )
    if old:
        return warning(
            "keys",
            f"Tokens are still sealed by older keys: {', '.join(map(str, old))}.",
            "Run `flask keys rotate`.",
        )
    return ok("keys", f"No token needs another key than {first}.")


def _opening(examined: Examined, uses: Sequence[KeyInUse]) -> Finding:
    """Try one token of each key, and some more."""
    sealed = examined.connections.sealed_tokens
    known = {key.kid for key in examined.settings.token_keys}
    examples = sealed.of_connections([use.example for use in uses if use.kid in known])
    tried = {value for value in (*examples, *next(sealed.batches(), ())) if value.kid in known}
    broken = {value.connection_id for value in tried if not _opens(examined, value)}
    if broken:
        return fault(
            "opening",
            f"Tokens do not open, though their key is there: connection {min(broken)}"
            + (f" and {len(broken) - 1} more of those tried." if len(broken) > 1 else "."),
            "See whether a key was replaced under its old name, or a row was copied.",
        )
    return ok("opening", f"Of the stored tokens {len(tried)} were tried, and they open.")


def _opens(examined: Examined, value: SealedValue) -> bool:
    try:
        examined.connections.vault.open(value.sealed, value.aad)
    except SealBroken:
        return False
    return True


def moments(examined: Examined) -> Iterator[Finding]:
    """No stored time is later than this app ever writes."""
    found = examined.connections.overview.misdated(MISDATED_SHOWN + 1)
    if not found:
        yield ok("moments", "No stored moment lies too far ahead.")
        return

    named = ", ".join(map(str, found[:MISDATED_SHOWN]))
    more = " and more" if len(found) > MISDATED_SHOWN else ""
    yield warning(
        "moments",
        f"Moments lie further ahead than this app puts them: connections {named}{more}.",
        "The database's clock was ahead when they were written, or is behind now: check it. "
        "Such moments count as over, and the next refresh replaces them.",
    )


def connections(examined: Examined) -> Iterator[Finding]:
    """No connection waits for long, and Katana does not refuse all of them."""
    fleet = examined.connections
    told = ", ".join(f"{count} {status}" for status, count in fleet.overview.counts().items())
    oldest = fleet.idle.oldest()
    waited = (fleet.idle.moment(0) - oldest).days if oldest else 0
    if fleet.refusal_breaker.is_open():
        yield warning(
            "connections",
            f"{told}. Katana refuses many in a row: none is ended, and one a minute is tried.",
            "Ask Katana's status page or the partner team; it resumes by itself.",
        )
    elif waited > OVERDUE_DAYS:
        yield warning(
            "connections",
            f"{told}. The oldest was last renewed {waited} days ago.",
            "Let `flask connections keep-alive` run, once a day or with --watch.",
        )
    else:
        yield ok("connections", f"{told}. The oldest was last renewed {waited} days ago.")


def staged(examined: Examined) -> Iterator[Finding]:
    """No staged response waits for the database, and this host could write one."""
    waiting = examined.connections.staged.count()
    if waiting:
        yield warning(
            "unsaved",
            f"{waiting} token responses wait in the instance folder for the database.",
            "Run `flask connections keep-alive`, which stores them; its log says what hinders it.",
        )
    elif not examined.connections.staged.is_writable():
        yield warning(
            "unsaved",
            "The instance folder cannot be written: a response that cannot be saved has no copy.",
            "Let the user that runs the app write there.",
        )
    else:
        yield ok("unsaved", "No token response waits for the database.")
