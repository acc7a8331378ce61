"""Validates values from JSON or form text.

Every function returns the value, or raises ValueError with a sentence for the sender.
"""

from collections.abc import Iterable


def whole_number(name: str, value: object, *, low: int, high: int) -> int:
    """Return a whole number between `low` and `high`, both included."""
    number = _number(name, value)
    if number != int(number) or not low <= number <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}.")

    return int(number)


def seconds(name: str, value: object) -> float:
    """Return a length of time in seconds, at most ten minutes."""
    number = _number(name, value)
    if not 0 <= number <= 600:
        raise ValueError(f"{name} must be a number of seconds from 0 to 600.")

    return number


def many_seconds(name: str, value: object) -> tuple[float, ...]:
    """Return some lengths of time in seconds, each at most an hour; form text has commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) > 10:
        raise ValueError(f"{name} must be a list of seconds.")

    read = tuple(_number(name, part) for part in parts if part != "")
    if not all(0 <= number <= 3600 for number in read):
        raise ValueError(f"{name} must be numbers of seconds from 0 to 3600.")
    return read


def one_of(name: str, value: object, choices: Iterable[str]) -> str:
    """Return the value if it is one of the choices."""
    allowed = tuple(choices)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of: {', '.join(allowed)}.")

    return value


def flag(name: str, value: object) -> bool:
    """Return a boolean, also from form text."""
    known = {True: True, False: False, "true": True, "on": True, "1": True}
    known |= {"false": False, "off": False, "0": False, "": False}
    if not isinstance(value, bool | str) or value not in known:
        raise ValueError(f"{name} must be true or false.")

    return known[value]


def words(name: str, value: object) -> tuple[str, ...]:
    """Return a list of names; as form text they are separated by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{name} must be a list of names.")

    return tuple(part.strip() for part in parts if part.strip())


def text_or_none(name: str, value: object) -> str | None:
    """Return text that fits in a header; None for null and for empty text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be text.")

    return str(value)


def _number(name: str, value: object) -> float:
    """Return a finite number; JSON true and false are not numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be a number.")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number.") from None
    if number != number or abs(number) == float("inf"):
        raise ValueError(f"{name} must be a number.")

    return number
