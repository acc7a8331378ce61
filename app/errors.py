"""Every way this app can fail, as one tree.

    ConnectError
    ├── ConfigurationError       the settings are wrong: the app does not start
    ├── AttemptRefused           a callback that no attempt of this browser session belongs to
    │   ├── AttemptExpired       ... because its ten minutes are over
    │   ├── AttemptElsewhere     ... because it began in another browser session
    │   ├── AttemptUsed          ... because it was used, or ended with its session
    │   └── ExchangeUnderWay     ... because an earlier callback with its state is being completed
    ├── SealBroken               a stored token does not open: wrong key, or not its own row
    ├── NotConnected             there is no connection (any more)
    ├── ReconnectNeeded          Katana has ended the grant: only the user can mend it
    ├── TryAgainLater            a fresh token cannot be had right now; nothing is lost
    │   ├── FreshTokenRefused    ... since Katana's API refuses tokens that are minutes old
    │   ├── FailingAlone         ... for hours, while other connections are renewed
    │   ├── Overloaded           ... since too many requests wait for this worker already
    │   └── KatanaSaturated      ... since enough requests wait for Katana already, or it is slow
    │       └── CallbackPostponed  ... and the approval has not been used yet
    └── KatanaError              Katana was asked
        ├── LoginError           ... at its login
        │   ├── NotSent          the request never left: nothing can have been spent
        │   ├── AnswerLost       the request left, no usable answer came: anything may have happened
        │   ├── GrantRefused     the code or the refresh token is not good (any more)
        │   ├── ClientRefused    our own credentials are not good: no user's fault, no user's loss
        │   ├── LoginBusy        too many requests
        │   └── RequestRefused   any other refusal in so many words
        └── ApiError             ... at its API
            ├── ApiUnauthorized  the access token is not good, not even a fresh one
            ├── ApiForbidden     this Katana user or plan may not do that
            ├── ApiBusy          too many requests
            ├── ApiRefused       any other refusal: our request was wrong
            └── ApiUnavailable   no answer, or no usable one

These classes carry no HTTP status; `pages/error_pages.py` maps each to one. Their texts contain
methods, paths, statuses and Katana's error codes, never a body, a header or a token.
"""


class ConnectError(Exception):
    """The root of everything this app raises on purpose."""


class ConfigurationError(ConnectError):
    """The settings are wrong; `faults` holds a sentence for each, and no value."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__(
            "\n".join(("The settings are not complete:", *(f"  - {f}" for f in faults)))
        )


class AttemptRefused(ConnectError):
    """The state is unknown, used, expired, or began in another browser session."""


class AttemptExpired(AttemptRefused):
    """The attempt is older than an attempt may be."""


class AttemptElsewhere(AttemptRefused):
    """The attempt began in another browser session."""


class AttemptUsed(AttemptRefused):
    """The attempt is not there: it was used, or it ended with its browser session."""


class ExchangeUnderWay(AttemptRefused):
    """An earlier callback used the attempt and exchanges its code right now."""


class SealBroken(ConnectError):
    """A sealed value does not open with the keys at hand, in the place where it stands."""


class NotConnected(ConnectError):
    """The connection does not exist, or has been disconnected meanwhile."""


class ReconnectNeeded(ConnectError):
    """Katana has ended the grant; `reason` says how we know."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Katana must be connected again ({reason})")


class TryAgainLater(ConnectError):
    """No fresh token can be had now; `retry_after` is in seconds. The connection is untouched."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, round(retry_after))
        super().__init__(f"try again in {self.retry_after} s")


class FreshTokenRefused(TryAgainLater):
    """Katana's API refuses an access token that is only minutes old: another would not help."""


class FailingAlone(TryAgainLater):
    """Katana has not renewed this connection for hours, while it renews others."""


class Overloaded(TryAgainLater):
    """Too many requests wait for a thread of this worker already."""


class KatanaSaturated(TryAgainLater):
    """Nothing was sent: enough requests wait for Katana already, or the last ones timed out."""


class CallbackPostponed(KatanaSaturated):
    """The same for a callback: its attempt and its code have not been used."""


class KatanaError(ConnectError):
    """Katana was asked and the answer was not a good one."""


class LoginError(KatanaError):
    """Katana's login was asked for a grant and gave none.

    `retry_after` is the pause that it asks for, in seconds; None where it asks for none.
    """

    def __init__(self, text: str = "", retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class NotSent(LoginError):
    """The request never left this machine, so no token can have been spent."""


class AnswerLost(LoginError):
    """The request left and no usable answer came: a token in it may have been spent."""


class GrantRefused(LoginError):
    """The code or refresh token is not good (any more), or only the user can make it good.

    `invalid_grant`: it is used, expired, revoked or unknown. `interaction_required` and the like:
    the user must sign in, consent, or prove more.
    """


class ClientRefused(LoginError):
    """Katana refuses our client id and secret. Mend the settings; no connection is at fault."""


class LoginBusy(LoginError):
    """Katana's login limits requests."""


class RequestRefused(LoginError):
    """Katana's login refused in words that fit none of the above."""


class ApiError(KatanaError):
    """Katana's API was asked and did not do it."""


class ApiUnauthorized(ApiError):
    """Katana's API refuses the access token, a freshly renewed one included."""


class ApiForbidden(ApiError):
    """Katana's API refuses this user, or their plan, this request."""


class ApiBusy(ApiError):
    """More than Katana's 60 requests a minute; `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class ApiRefused(ApiError):
    """Katana's API says that the request itself is wrong; `status` is Katana's."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)


class ApiUnavailable(ApiError):
    """Katana's API gave no answer in time, or none that can be used."""
