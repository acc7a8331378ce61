"""Whether what is stored can be used: the keys, and the state of the connections."""

from collections.abc import Iterator

from app.cli.doctor.findings import Examined, Finding, fault, ok, warning
from app.errors import SealBroken

OVERDUE_DAYS = 8  # `flask connections keep-alive` renews after 7


def keys(examined: Examined) -> Iterator[Finding]:
    """Every key that a stored token needs is there, and it is the first."""
    uses = examined.connections.upkeep.sealed.keys_in_use()
    first, *others = (key.kid for key in examined.settings.token_keys)
    missing = [
        f"{use.kid or '?'} ({use.values})" for use in uses if use.kid not in {first, *others}
    ]
    old = [use.kid for use in uses if use.kid in others]
    if missing:
        yield fault(
            "keys",
            f"Tokens do not open, for want of these keys: {', '.join(missing)}.",
            "Add them to TOKEN_ENCRYPTION_KEYS again, behind the first.",
        )
    elif old:
        yield warning(
            "keys",
            f"Tokens are still sealed by older keys: {', '.join(map(str, old))}.",
            "Run `flask keys rotate`.",
        )
    else:
        yield ok("keys", f"No token needs another key than {first}.")


def opening(examined: Examined) -> Iterator[Finding]:
    """Tokens open: one of each key, and some more."""
    sealed = examined.connections.upkeep.sealed
    known = {key.kid for key in examined.settings.token_keys}
    examples = sealed.of([use.example for use in sealed.keys_in_use() if use.kid in known])
    tried = [value for value in (*examples, *next(sealed.batches(), ())) if value.kid in known]
    broken = set()
    for value in tried:
        try:
            examined.connections.vault.open(value.sealed, value.place)
        except SealBroken:
            broken.add(value.connection_id)
    if broken:
        yield fault(
            "opening",
            f"Tokens do not open, though their key is there: connection {min(broken)}"
            + (f" and {len(broken) - 1} more of those tried." if len(broken) > 1 else "."),
            "See whether a key was replaced under its old name, or a row was copied.",
        )
    else:
        yield ok("opening", f"Of the stored tokens {len(tried)} were tried, and they open.")


def connections(examined: Examined) -> Iterator[Finding]:
    """None waits for long, and Katana does not refuse all."""
    upkeep = examined.connections.upkeep
    told = ", ".join(f"{count} {status}" for status, count in upkeep.overview.counts().items())
    oldest = upkeep.idle.oldest()
    waited = (upkeep.idle.moment(0) - oldest).days if oldest else 0
    if upkeep.incidents.under_way():
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
