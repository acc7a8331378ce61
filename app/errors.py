"""The errors of this app, as one tree.

    ConnectError
    ├── ConfigurationError       invalid settings: the app does not start
    ├── AttemptRefused           a callback without a valid attempt of this browser session
    │   ├── AttemptExpired       ... older than ten minutes
    │   ├── AttemptElsewhere     ... begun in another browser session
    │   ├── AttemptUsed          ... used already, or deleted with its session
    │   └── ExchangeUnderWay     ... an earlier callback is exchanging its code
    ├── SealBroken               a stored token cannot be decrypted: wrong key, or another row
    ├── NotConnected             there is no connection, or it was disconnected
    ├── ReconnectNeeded          Katana has ended the grant: the user must reconnect
    ├── TryAgainLater            no valid access token now; the connection is unchanged
    │   ├── FreshTokenRefused    ... Katana's API refuses tokens that are only minutes old
    │   ├── FailingAlone         ... refreshes fail for hours, while others succeed
    │   ├── Overloaded           ... too many requests wait for a thread of this process
    │   └── KatanaSaturated      ... too many threads wait for Katana, or it does not respond
    │       └── CallbackPostponed  ... and the code of the callback has not been used
    └── KatanaError              a request to Katana failed
        ├── LoginError           ... to its login
        │   ├── NotSent          the request was not sent: no token was spent
        │   ├── AnswerLost       sent, and no usable response: a token is possibly spent
        │   ├── GrantRefused     the code or the refresh token is invalid
        │   ├── ClientRefused    our client credentials are invalid; no connection is affected
        │   ├── LoginBusy        too many requests
        │   └── RequestRefused   any other refusal
        └── ApiError             ... to its API
            ├── ApiUnauthorized  the access token is invalid, even a newly refreshed one
            ├── ApiForbidden     this Katana user or plan is not allowed to do that
            ├── ApiBusy          too many requests
            ├── ApiRefused       any other refusal: our request was wrong
            └── ApiUnavailable   no response, or no usable one

The classes have no HTTP status: `pages/error_pages.py` maps each of them to one. Their messages
contain methods, paths, statuses and Katana's error codes, never a body, a header or a token.
"""


class ConnectError(Exception):
    """The base of all errors that this app raises."""


class ConfigurationError(ConnectError):
    """The settings are invalid. `faults` has one sentence for each, without values."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__(
            "\n".join(("The settings are not complete:", *(f"  - {f}" for f in faults)))
        )


class AttemptRefused(ConnectError):
    """The state is unknown, used, expired, or began in another browser session."""


class AttemptExpired(AttemptRefused):
    """The attempt has expired."""


class AttemptElsewhere(AttemptRefused):
    """The attempt began in another browser session."""


class AttemptUsed(AttemptRefused):
    """The attempt does not exist: it was used, or deleted with its browser session."""


class ExchangeUnderWay(AttemptRefused):
    """An earlier callback used the attempt and is exchanging its code."""


class SealBroken(ConnectError):
    """A sealed value cannot be decrypted with the current keys for its row and column."""


class NotConnected(ConnectError):
    """The connection does not exist, or was disconnected meanwhile."""


class ReconnectNeeded(ConnectError):
    """Katana has ended the grant. `reason` is a `Reason` of the connection."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Katana must be connected again ({reason})")


class TryAgainLater(ConnectError):
    """No valid access token now. Retry after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, round(retry_after))
        super().__init__(f"try again in {self.retry_after} s")


class FreshTokenRefused(TryAgainLater):
    """Katana's API refuses an access token that is only minutes old: a refresh would not help."""


class FailingAlone(TryAgainLater):
    """Refreshes of this connection have failed for hours, while those of others succeed."""


class Overloaded(TryAgainLater):
    """Too many requests wait for a thread of this process."""


class KatanaSaturated(TryAgainLater):
    """Nothing was sent: too many threads wait for Katana, or the last requests timed out."""


class CallbackPostponed(KatanaSaturated):
    """A callback could not send its request: its attempt and code are still unused."""


class KatanaError(ConnectError):
    """A request to Katana failed."""


class LoginError(KatanaError):
    """A request to Katana's login failed.

    `retry_after` is the wait in seconds that the response requests, or None.
    """

    def __init__(self, text: str = "", retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class NotSent(LoginError):
    """The request was not sent, so no token was spent."""


class AnswerLost(LoginError):
    """The request was sent and got no usable response: a token in it is possibly spent."""


class GrantRefused(LoginError):
    """The code or refresh token is invalid, or the user must act first.

    `invalid_grant`: it is used, expired, revoked or unknown. `interaction_required` and similar
    codes: the user must sign in, consent, or use a second factor.
    """


class ClientRefused(LoginError):
    """Katana refuses our client id and secret. The settings must be corrected."""


class LoginBusy(LoginError):
    """Too many requests to Katana's login."""


class RequestRefused(LoginError):
    """Katana's login refused the request for another reason."""


class ApiError(KatanaError):
    """A request to Katana's API failed."""


class ApiUnauthorized(ApiError):
    """Katana's API refuses the access token, even a newly refreshed one."""


class ApiForbidden(ApiError):
    """The Katana user or plan does not allow this request."""


class ApiBusy(ApiError):
    """Katana's limit of 60 requests a minute is exceeded. `retry_after` is in seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(text)


class ApiRefused(ApiError):
    """Katana's API says that the request is wrong. `status` is the response's."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)


class ApiUnavailable(ApiError):
    """No response from Katana's API in time, or no usable one."""
