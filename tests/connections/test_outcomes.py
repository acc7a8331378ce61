"""decide(): what to do after a failed refresh, as a table; and the words for it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.connections.backoff import PROBE_SECONDS, SETTLE_SECONDS
from app.connections.leases import Lease
from app.connections.models import Reason
from app.connections.outcomes import FAILING_ALONE_SECONDS, RefreshOutcome, decide
from app.errors import (
    AnswerLost,
    ClientRefused,
    GrantRefused,
    LoginBusy,
    LoginError,
    NotSent,
    RequestRefused,
)
from app.pages import display

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG = timedelta(seconds=FAILING_ALONE_SECONDS)
BUSY, DOUBT, REFUSED = {"failures": 3}, {"doubtful_since": NOW - HOUR}, {"refused_at": NOW}
FOR_HOURS = {"failing_since": NOW - LONG, "refreshed_at": NOW - LONG - HOUR}


def lease(**known: Any) -> Lease:
    """A lease on a connection that is well but for what is given."""
    nothing = {"refused_at": None, "doubtful_since": None, "failures": 0, "failing_since": None}
    row = {**nothing, "refreshed_at": NOW - HOUR, "at": NOW, **known}
    return Lease(UUID(int=1), 1, 1, "me", 0.0, False, 1, b"", **row)


#: error, what is known of the row, the outcome, seconds of pause, spent, refused, ends, alarm
ALONE: list[tuple[LoginError, dict[str, Any], str, float, bool, bool, Reason | None, bool]] = [
    (NotSent(), {}, "not_sent", 2, False, False, None, False),
    (NotSent(), BUSY, "not_sent", 16, False, False, None, False),
    (AnswerLost(), {}, "answer_lost", SETTLE_SECONDS, True, False, None, False),
    (AnswerLost(), DOUBT | BUSY, "answer_lost", 16, True, False, None, False),
    (AnswerLost("", 120), {}, "answer_lost", 120, True, False, None, False),
    (AnswerLost("", 120), DOUBT, "answer_lost", 120, True, False, None, False),
    (AnswerLost("", 1), DOUBT | BUSY, "answer_lost", 16, True, False, None, False),
    (AnswerLost("", 10**6), {}, "answer_lost", 3600, True, False, None, False),
    (LoginBusy(), BUSY, "login_busy", 16, False, False, None, False),
    (LoginBusy("", 30), BUSY, "login_busy", 30, False, False, None, False),
    (RequestRefused(), {}, "request_refused", 2, False, False, None, False),
    (RequestRefused("", 77), {}, "request_refused", 77, False, False, None, False),
    (ClientRefused(), {}, "client_refused", 2, False, False, None, True),
    (ClientRefused("", 90), FOR_HOURS, "client_refused", 90, False, False, None, True),
    (
        RequestRefused(),
        FOR_HOURS | {"failures": 99},
        "request_refused",
        300,
        *[False] * 2,
        None,
        False,
    ),
    (GrantRefused(), {}, "grant_refused", SETTLE_SECONDS, False, True, None, False),
    (GrantRefused("", 60), {}, "grant_refused", 60, False, True, None, False),
    (GrantRefused(), REFUSED, "ended", 0, False, False, Reason.GRANT_ENDED, False),
    (GrantRefused(), DOUBT, "lost", 0, False, False, Reason.ANSWER_LOST, False),
    (GrantRefused(), DOUBT | BUSY, "grant_refused", SETTLE_SECONDS, False, True, None, False),
    (GrantRefused(), DOUBT | BUSY | REFUSED, "lost", 0, False, False, Reason.ANSWER_LOST, False),
    (GrantRefused(), {"refused_at": NOW - 2 * HOUR}, "grant_refused", 2, False, True, None, False),
    (GrantRefused(), {"refused_at": NOW + 2 * HOUR}, "grant_refused", 2, False, True, None, False),
]


@pytest.mark.parametrize(
    ("error", "row", "outcome", "pause", "spent", "refused", "ends", "alarm"), ALONE
)
def test_what_is_done_after_a_failure(
    error: LoginError,
    row: dict[str, Any],
    outcome: str,
    pause: float,
    spent: bool,
    refused: bool,
    ends: Reason | None,
    alarm: bool,
) -> None:
    """Only a confirmed refusal ends a connection; Retry-After is kept whatever the error."""
    decision = decide(error, lease(**row), circuit_open=False, others_renewed=False)

    assert decision.outcome == outcome
    assert (decision.pause, decision.end_reason, decision.check_client) == (pause, ends, alarm)
    assert (decision.possibly_spent, decision.refused) == (spent, refused)


@pytest.mark.parametrize("row", [{}, REFUSED, DOUBT, DOUBT | REFUSED])
def test_an_open_circuit_breaker_ends_no_connection(row: dict[str, Any]) -> None:
    """R-13: many refusals at once are Katana's trouble."""
    decision = decide(GrantRefused(), lease(**row), circuit_open=True, others_renewed=False)

    assert decision.outcome is RefreshOutcome.INCIDENT
    assert (decision.pause, decision.end_reason, decision.refused) == (PROBE_SECONDS, None, True)


@pytest.mark.parametrize("error", [RequestRefused(), ClientRefused(), AnswerLost(), LoginBusy()])
def test_what_fails_for_hours_while_others_are_renewed_is_named(error: LoginError) -> None:
    """B5: neither this app's settings nor Katana are to blame, since others go on."""
    short = lease(failing_since=NOW - HOUR, refreshed_at=NOW - 2 * HOUR)

    soon = decide(error, short, circuit_open=False, others_renewed=True)
    later = decide(error, lease(**FOR_HOURS), circuit_open=False, others_renewed=True)

    assert soon.outcome is not RefreshOutcome.FAILING_ALONE
    assert later.outcome is RefreshOutcome.FAILING_ALONE
    assert not soon.check_client
    assert not later.check_client
    assert later.end_reason is None


def test_a_failure_that_a_success_has_ended_does_not_count() -> None:
    """B5: what failed before the last renewal is over, whoever saved that."""
    assert lease(failing_since=NOW - LONG, refreshed_at=NOW - HOUR).failing_for == 0


def test_every_outcome_has_its_words_on_the_page() -> None:
    """The words that stand in the history are explained; the others do not get there."""
    unlisted = {RefreshOutcome.OK, RefreshOutcome.ENDED, RefreshOutcome.LOST}

    assert set(RefreshOutcome) - unlisted == set(display.OUTCOMES)


def test_every_outcome_is_documented() -> None:
    """Who watches the metrics finds each outcome in docs/running.md."""
    told = Path("docs/running.md").read_text()

    assert [outcome for outcome in RefreshOutcome if f"`{outcome}`" not in told] == []
