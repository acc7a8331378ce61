"""What a user looks for among the orders, and where in the list they are, as an address says it."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

CHARACTERS = 100  # of what is searched for


@dataclass(frozen=True)
class Position:
    """A place in the list: that of one order."""

    ordered_at: datetime
    id: int

    def __str__(self) -> str:
        """As it stands in an address."""
        return f"{self.ordered_at.isoformat()}_{self.id}".replace("+00:00", "Z")

    @classmethod
    def read(cls, given: str | None) -> "Position | None":
        """The position in an address; None where there is none, or none that can be read."""
        moment, _, number = (given or "").partition("_")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        try:
            at = datetime.fromisoformat(moment)
            return cls(at.astimezone(UTC), int(number)) if at.tzinfo else None
        except (ValueError, OverflowError):  # no moment, or in UTC none that there is
            return None


@dataclass(frozen=True)
class Search:
    """What a user looks for, and where in the list they are."""

    text: str = ""
    status: str = ""
    older: Position | None = None
    newer: Position | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Search":
        """The search in an address, cut and without what no order can hold."""
        text, status = (_printable(given.get(name, "")) for name in ("q", "status"))
        older, newer = (Position.read(given.get(name)) for name in ("older", "newer"))
        return cls(text.strip(), status, older, newer)


def _printable(given: str) -> str:
    text = unicodedata.normalize("NFC", given[:CHARACTERS])
    return "".join(character for character in text if character.isprintable())
