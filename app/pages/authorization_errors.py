"""The errors that Katana's authorization page may return instead of a code, in our words.

Only the codes of RFC 6749 section 4.1.2.1 are recognised. No text from the URL is shown, because
anybody can make a URL.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why there is no code: a text for the user, and one for the log."""

    title: str
    text: str
    name: str = "another code"
    status: int = 400
    #: Whether the people who run this app have to act.
    ours: bool = False


NOT_SET_UP = (
    "This app is not set up right for Katana. The people who run it can see why in its log."
)

CANCELLED = Refusal(
    "You did not connect",
    "You cancelled on Katana's page, so nothing was changed. Connect whenever you like.",
    "access_denied",
    status=200,
)
KNOWN = {
    CANCELLED.name: CANCELLED,
    "server_error": Refusal(
        "Katana had a problem",
        "Something went wrong on Katana's page, so nothing was connected or changed. Try again.",
        "server_error",
    ),
    "temporarily_unavailable": Refusal(
        "Katana is busy",
        "Katana cannot take your approval right now. Nothing was changed. Try again in a minute.",
        "temporarily_unavailable",
    ),
    "invalid_request": Refusal(
        "Katana did not understand this app", NOT_SET_UP, "invalid_request", ours=True
    ),
    "unauthorized_client": Refusal(
        "Katana does not know this app", NOT_SET_UP, "unauthorized_client", ours=True
    ),
    "unsupported_response_type": Refusal(
        "Katana did not understand this app", NOT_SET_UP, "unsupported_response_type", ours=True
    ),
    "invalid_scope": Refusal(
        "Katana does not give this app the access it asks for",
        NOT_SET_UP,
        "invalid_scope",
        ours=True,
    ),
}
UNKNOWN = Refusal(
    "Katana was not connected",
    "Katana ended the approval and did not say why. Nothing was changed. Try again.",
)


def refusal(error: str | None) -> Refusal:
    """The refusal for Katana's `error`."""
    return KNOWN.get(error or "", UNKNOWN)
