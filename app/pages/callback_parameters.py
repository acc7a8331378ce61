"""What Katana's login sends along when the browser comes back, read strictly."""

from dataclasses import dataclass, field

from werkzeug.datastructures import MultiDict

from app.errors import AttemptRefused

#: All that is looked at; whatever else stands in the URL is left alone.
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
    """The answer in a callback's parameters.

    Raises AttemptRefused where one stands there twice, is empty, too long or unprintable, where the
    state is missing, and where there is not either a code or an error. Of two codes one is not
    Katana's: there is no right one to pick (RFC 6749 section 3.1, ASVS 15.3.7).
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
    # What may stand in any of them is visible ASCII and the space (RFC 6749 appendix A).
    return 0 < len(value) <= CHARACTERS and value.isascii() and value.isprintable()
