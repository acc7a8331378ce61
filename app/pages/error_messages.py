"""Maps each error to an HTTP status and a message for the user.

A message says what happened, what became of the connection, and what to do. It repeats nothing from
the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app import errors

MINUTE = 60  # seconds
UNCHANGED = "Nothing was connected or changed."
KEPT = "Your connection is kept."
NO_LONGER_WORKS = "This link from Katana no longer works"
IN_THE_LOG = "The people who run this app can see why in its log."


@dataclass(frozen=True)
class Explanation:
    """An error as shown in a browser."""

    status: int
    title: str
    text: str
    #: In seconds, if trying again makes sense.
    retry_after: int | None = None
    #: Whether somebody who runs this app has to act.
    ours: bool = False
    #: The label of the link to the dashboard. A visitor who is not signed in signs in first.
    onward: str = "Go to your dashboard"
    #: Whether the dashboard offers to connect again.
    reconnect: bool = False
    #: Whether the page has a button to connect. Its form starts a session in a browser without a
    #: cookie, so only for errors of signed-in users.
    connect: bool = False


FAILURES: Mapping[type[Exception], Explanation] = {
    errors.AttemptRefused: Explanation(
        400,
        NO_LONGER_WORKS,
        "Something in its address is missing, or was changed on the way. Check your "
        "dashboard in a moment: if Katana is not connected there, start again.",
    ),
    errors.AttemptExpired: Explanation(
        400,
        NO_LONGER_WORKS,
        "It is too old: each link works for ten minutes from when you press Connect. "
        f"{UNCHANGED} You can start again here.",
        connect=True,
    ),
    errors.AttemptElsewhere: Explanation(
        400,
        NO_LONGER_WORKS,
        "You began in another browser or another account, or signed in again since. "
        f"{UNCHANGED} Go on where you began, or start again here.",
        connect=True,
    ),
    errors.AttemptUsed: Explanation(
        400,
        NO_LONGER_WORKS,
        "Each link works once, and this one was used already, or you have signed out since. "
        "If your dashboard does not show Katana as connected, start again here.",
        connect=True,
    ),
    errors.ExchangeUnderWay: Explanation(
        503,
        "Katana is still being asked",
        "Your approval has arrived, and this app is waiting for Katana. Look at your dashboard in "
        "a moment: it shows whether Katana is connected.",
        5,
    ),
    errors.NotSent: Explanation(
        503,
        "Katana cannot be reached",
        f"Katana's login does not answer. {UNCHANGED} Try again in a minute.",
        MINUTE,
    ),
    errors.AnswerLost: Explanation(
        502,
        "Katana's answer did not arrive",
        f"Katana's login gave no answer that can be used. {UNCHANGED} Try again in a minute.",
        MINUTE,
    ),
    errors.LoginBusy: Explanation(
        503,
        "Katana is busy",
        f"Katana's login asks for a pause. {UNCHANGED} Try again in a minute.",
        MINUTE,
    ),
    errors.GrantRefused: Explanation(
        400,
        "Katana did not accept the approval",
        f"An approval works once, and only for a short time. {UNCHANGED} "
        "Connect again from your dashboard to get a new one.",
    ),
    errors.ClientRefused: Explanation(
        502,
        "This app is not set up right",
        f"Katana does not accept this app's own credentials. {UNCHANGED} {IN_THE_LOG}",
        ours=True,
    ),
    errors.RequestRefused: Explanation(
        502,
        "This app is not set up right",
        f"Katana did not grant what this app asked for. {UNCHANGED} {IN_THE_LOG}",
        ours=True,
    ),
    errors.TryAgainLater: Explanation(
        503,
        "Katana does not answer",
        f"Your orders and stock cannot be shown right now. {KEPT} Load the page again in a minute.",
        MINUTE,
    ),
    errors.Overloaded: Explanation(
        503,
        "This app is busy",
        "Many people load pages at this moment. Load this page again in a few seconds.",
        MINUTE,
    ),
    errors.KatanaSaturated: Explanation(
        503,
        "Katana is slow to answer",
        "Many pages wait for Katana already, so this one does not. "
        f"{KEPT} Load the page again in a few seconds.",
        MINUTE,
    ),
    errors.CallbackPostponed: Explanation(
        503,
        "Katana is slow to answer",
        "Your approval is kept and was not used yet. Load this page again in a few seconds. "
        "If it is too late by then, connect again from your dashboard.",
        MINUTE,
    ),
    errors.FreshTokenRefused: Explanation(
        503,
        "Katana refuses access",
        "Katana does not accept the access that it has given only minutes ago. "
        f"{KEPT} This app tries again, less often the longer it lasts.",
        MINUTE,
    ),
    errors.FailingAlone: Explanation(
        503,
        "Katana refuses to renew this connection",
        "Katana has not renewed access to your account for hours, while it renews others. "
        f"{KEPT} Reconnect to give it your approval again.",
        MINUTE,
        reconnect=True,
    ),
    errors.ApiUnavailable: Explanation(
        503,
        "Katana does not answer",
        f"Your orders and stock cannot be shown right now. {KEPT} Load the page again in a minute.",
        MINUTE,
    ),
    errors.ApiBusy: Explanation(
        503,
        "Katana asks for a pause",
        f"Katana takes only so many requests a minute. {KEPT} Load the page again in a minute.",
        MINUTE,
    ),
    errors.ApiForbidden: Explanation(
        403,
        "Katana does not let this app in",
        "Connected apps need Katana's Professional plan or a higher one, and your Katana user must "
        f"be allowed to see orders and stock. {KEPT}",
    ),
    errors.ApiUnauthorized: Explanation(
        502,
        "Katana does not accept the connection",
        "Katana refuses access that it has only just renewed. If this goes on, disconnect and "
        "connect again.",
    ),
    errors.ApiRefused: Explanation(
        502,
        "Katana did not understand this app",
        f"Katana refused what this app asked for. {KEPT} {IN_THE_LOG}",
        ours=True,
    ),
    errors.SealBroken: Explanation(
        500,
        "The keys to your Katana do not open here",
        f"This is not your doing. {KEPT} {IN_THE_LOG}",
        ours=True,
    ),
    errors.ReconnectNeeded: Explanation(
        409,
        "Katana must be connected again",
        "Katana has ended this app's access. Reconnect from your dashboard.",
    ),
    errors.NotConnected: Explanation(
        409,
        "Katana is not connected",
        "There is no connection any more. Connect again from your dashboard.",
    ),
    errors.ConnectError: Explanation(500, "Something went wrong here", IN_THE_LOG, ours=True),
}

DATABASE_AWAY = Explanation(
    503,
    "This app takes a short break",
    "It cannot reach its own records right now. Nothing is lost. Try again in a minute.",
    MINUTE,
    ours=True,
)
FORGED = Explanation(
    400,
    "This form was open for too long",
    "You may have signed in or out since. Nothing was changed. "
    "Go back, load the page again, and send the form once more. "
    "If that does not help, let your browser keep cookies for this address, and do not let it hide "
    "which page a form comes from.",
)
TWO_SESSIONS = Explanation(
    400,
    "Your browser is signed in twice here",
    "Another site or program has left a second one, and we cannot tell which of the two is yours. "
    "Delete the cookies of this address in your browser, then sign in again.",
    onward="Sign in",
)
STATUSES: Mapping[int, Explanation] = {
    401: Explanation(
        401,
        "You are not signed in",
        "Your session has ended, or you began in another browser. Nothing was changed. "
        "Sign in and try again.",
        onward="Sign in",
    ),
    403: Explanation(
        403, "This is not allowed", "The form came from another site. Nothing was changed."
    ),
    404: Explanation(
        404, "There is no such page", "The address may be mistyped, or the page has gone."
    ),
    405: Explanation(405, "This page does not work that way", "Nothing was changed."),
    413: Explanation(413, "That is too much", "What was sent is larger than this app takes."),
    429: Explanation(429, "Too many tries", "Try again in a minute.", MINUTE),
    500: Explanation(
        500,
        "Something went wrong here",
        "It is not your doing, and nothing of yours is lost. Try again in a moment.",
        ours=True,
    ),
}
ANYTHING_ELSE = Explanation(
    400, "This did not work", "The request was not one that this app understands."
)
