"""The query parameters of the callback, parsed strictly."""

from dataclasses import dataclass, field

from werkzeug.datastructures import MultiDict

from app.errors import AttemptRefused

#: The parameters that are read; all others are ignored.
NAMES = ("code", "state", "error", "iss")
CHARACTERS = 4096


@dataclass(frozen=True)
class KatanaAnswer:
    """Either a code or an error, for one attempt."""

    state: str = field(repr=False)
    code: str | None = field(repr=False)
    error: str | None = field(repr=False)
    iss: str | None


def read(parameters: "MultiDict[str, str]") -> KatanaAnswer:
    """The parameters of a callback, checked.

    Raises AttemptRefused if one is repeated, empty, too long or unprintable, if the state is
    missing, and if there is not exactly one of code and error. If there are two codes, one is not
    from Katana, and it cannot be known which (RFC 6749 section 3.1, ASVS 15.3.7).
    """
    given = {name: parameters.getlist(name) for name in NAMES if name in parameters}
    if any(len(values) > 1 for values in given.values()):
        raise AttemptRefused("a callback names something twice")

    values = {name: value for name, (value,) in given.items()}
    if not all(_is_sound(value) for value in values.values()):
        raise AttemptRefused("a callback holds an empty, endless or unprintable value")

    if "state" not in values or ("code" in values) == ("error" in values):
        raise AttemptRefused("a callback has no state, or not either a code or an error")

    return KatanaAnswer(
        state=values["state"],
        code=values.get("code"),
        error=values.get("error"),
        iss=values.get("iss"),
    )


def _is_sound(value: str) -> bool:
    # RFC 6749 appendix A allows visible ASCII characters and the space.
    return 0 < len(value) <= CHARACTERS and value.isascii() and value.isprintable()
