"""A search among the orders and a position in their list, to and from a URL."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

CHARACTERS = 100  # the most in a search text


@dataclass(frozen=True)
class Position:
    """A position in the list: that of one order."""

    ordered_at: datetime
    id: int

    def __str__(self) -> str:
        """As written in a URL."""
        return f"{self.ordered_at.isoformat()}_{self.id}".replace("+00:00", "Z")

    @classmethod
    def read(cls, given: str | None) -> "Position | None":
        """The position in a URL; None if it is missing or invalid."""
        moment, _, number = (given or "").partition("_")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            return None
        try:
            at = datetime.fromisoformat(moment)
            return cls(at.astimezone(UTC), int(number)) if at.tzinfo else None
        except (ValueError, OverflowError):  # no date, or one that UTC cannot represent
            return None


@dataclass(frozen=True)
class Search:
    """What a user searches for, and the position in the list."""

    text: str = ""
    status: str = ""
    older: Position | None = None
    newer: Position | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Search":
        """The search in a URL, shortened, and without characters that no order can contain."""
        text, status = (_printable(given.get(name, "")) for name in ("q", "status"))
        older, newer = (Position.read(given.get(name)) for name in ("older", "newer"))
        return cls(text.strip(), status, older, newer)


def _printable(given: str) -> str:
    text = unicodedata.normalize("NFC", given[:CHARACTERS])
    return "".join(character for character in text if character.isprintable())
