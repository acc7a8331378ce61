"""Answers of a hostile Katana: S-28 to S-33, each test named by its item."""

import gzip

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from app.connections import sealed_grant
from app.connections.models import Status
from app.katana.oauth import DEFAULT_LIFETIME_SECONDS
from tests.support.actors import Maker
from tests.support.hostile_katana import (
    GOOD,
    LOST,
    NONSENSE,
    RECORD,
    WRONG,
    Katana,
    as_json,
    assert_sound,
    changed,
    connect,
    grant,
    last_event,
    make_due,
    most_memory,
    row,
)
from tests.support.rig import Rig


@pytest.mark.one_database
def test_s28_nonsense_is_one_error_and_takes_no_memory(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-28, A-8: of a code's answer; fifty megabytes, plain or packed, are not kept."""
    packed = gzip.compress(b'{"access_token":"' + b"a" * 50_000_000, 1)
    katana.by_code = {name: as_json(body) for name, body in NONSENSE.items()}
    katana.by_code["packed"] = as_json(packed, Content_Encoding="gzip")
    katana.by_code["packed twice"] = as_json(gzip.compress(packed), Content_Encoding="gzip, gzip")
    connect(ada, "null")
    before = most_memory(rig)

    for name in katana.by_code:
        page = connect(ada, name)
        assert (page.status, LOST in page.text) == (502, True), name

    assert row(rig) is None
    assert most_memory(rig) - before < 16_000_000


#: In the short form each wrong value is in one field, and all fields have their turn.
IN_EACH_FIELD = [RECORD | {field: value} for field in RECORD for value in WRONG]


@pytest.mark.one_database
@pytest.mark.parametrize(
    "records", [IN_EACH_FIELD[::17], pytest.param(IN_EACH_FIELD, marks=pytest.mark.slow)]
)
def test_s28_nonsense_of_the_api_is_one_error(
    rig: Rig, katana: Katana, ada: Maker, records: list[dict[str, object]]
) -> None:
    """S-28: of the API's answers, whatever stands in them; the connection is untouched."""
    connect(ada)
    answers: list[object] = [*NONSENSE.values()]
    answers += [{"data": value} for value in WRONG]
    answers += [[record] for record in records]

    for body in answers:
        katana.api = as_json(
            body,
            X_Pagination='{"total_pages": "1e400"}',
            X_Ratelimit_Limit="10000",
            X_Ratelimit_Remaining="9000",
        )
        page = ada.dashboard()
        assert page.status in {200, 503}, repr(body)[:80]
        assert "asks for a pause" not in page.text  # or nothing of the body was read
        assert "<b>" not in page.text
        assert len(page.text) < 20_000, repr(body)[:80]

    assert "Traceback" not in rig.log()


def test_s28_nonsense_for_a_name_costs_nothing(rig: Rig, katana: Katana, ada: Maker) -> None:
    """S-28: of the account that was connected: the connection stands, named or not."""
    names = (None, [], 10**30, "<b>", "\x00", "\ud800x", "x" * 100_000)
    for body in (
        *({"display_name": name} for name in names),
        NONSENSE["deep"],
        NONSENSE["no UTF-8"],
    ):
        katana.factory = as_json(body)
        assert "Connected to " in ada.get(connect(ada).location or "").text

    assert "Traceback" not in rig.log()


#: A good grant, one or two of whose fields are something else.
grants_given = st.lists(changed, min_size=1, max_size=2).map(lambda those: GOOD | dict(those))
statuses = st.sampled_from([200] * 8 + [201, 400, 403, 429, 500])


def and_examples(count: int) -> settings:
    """So many random answers. One that fails is not made smaller: each try is a request."""
    return settings(
        max_examples=count,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@and_examples(5)
@example(first=GOOD, second=GOOD | {"refresh_token": "a b"}, status=200)
@example(first=GOOD, second=GOOD | {"scope": "a\nb"}, status=200)
@example(first=GOOD | {"access_token": ""}, second=GOOD, status=200)
@given(first=grants_given, second=grants_given, status=statuses)
def test_s29_whatever_is_answered_what_is_stored_is_sound(
    rig: Rig,
    katana: Katana,
    ada: Maker,
    first: dict[str, object],
    second: dict[str, object],
    status: int,
) -> None:
    """S-29, A-9: to a code and then to a refresh; no request ends as an error of our own."""
    assert_answers_are_kept_sound(rig, katana, ada, first, second, status)


@pytest.mark.slow
@and_examples(30)
@given(first=grants_given, second=grants_given, status=statuses)
def test_s29_whatever_else_is_answered_what_is_stored_is_sound(
    rig: Rig,
    katana: Katana,
    ada: Maker,
    first: dict[str, object],
    second: dict[str, object],
    status: int,
) -> None:
    """S-29: the same with more answers."""
    assert_answers_are_kept_sound(rig, katana, ada, first, second, status)


def assert_answers_are_kept_sound(
    rig: Rig,
    katana: Katana,
    ada: Maker,
    first: dict[str, object],
    second: dict[str, object],
    status: int,
) -> None:
    """Katana answers a code with the first and a refresh with the second."""
    katana.login = as_json(first, status)
    connected = connect(ada)
    before = row(rig)
    if before is not None:
        assert_sound(rig, before)
        katana.login = as_json(second, status)
        make_due(rig)
        assert ada.browser.send("GET", "/dashboard").status == 200
        after = row(rig)
        assert after
        assert_sound(rig, after)

    assert connected.status in {303, 400, 502, 503}
    assert (connected.status == 303) <= (before is not None)
    assert "Traceback" not in rig.log()


@pytest.mark.one_database
def test_s30_a_bearer_token_is_one_in_any_case_and_no_other_is_taken(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-30, O-4: `bEaReR` connects, as does no type at all; another type does not."""
    for wrong in ("mac", "bearer mac", 5, [], {"a": 1}):
        katana.login = grant(token_type=wrong)
        assert connect(ada).status == 502
        assert row(rig) is None

    katana.login = grant(token_type="bEaReR")
    assert connect(ada).status == 303
    assert row(rig)


STATED: list[tuple[object, int]] = [
    (60, 60),
    ("3600", 3600),
    (86400, 86400),
    *((wrong, DEFAULT_LIFETIME_SECONDS) for wrong in (None, 0, -1, True, 10**12, "soon", [], 0.5)),
]


def test_s31_a_life_that_is_not_stated_is_a_short_one(rig: Rig, katana: Katana, ada: Maker) -> None:
    """S-31, A-10, O-5: absent, nought or nonsense never means for ever, nor does `expires_at`."""
    for stated, seconds in STATED:
        katana.login = grant(expires_in=stated, expires_at=9_999_999_999)
        connect(ada)

        stored = row(rig)
        assert stored
        life = (stored.expires_at - stored.refreshed_at).total_seconds()
        assert life == pytest.approx(sealed_grant.usable_seconds(seconds), abs=0.01), stated
        assert stored.refreshed_at <= stored.renew_at < stored.expires_at


def test_s32_without_a_refresh_token_nothing_begins_and_nothing_ends(
    rig: Rig, katana: Katana, ada: Maker
) -> None:
    """S-32: a first grant without one is our own mistake; at a refresh the old one stays."""
    for nothing in (None, ""):
        katana.login = grant(refresh_token=nothing)
        assert "This app is not set up right" in connect(ada).text
        assert row(rig) is None

    katana.login = grant()
    connect(ada)
    first = row(rig)
    for nothing in (None, ""):
        katana.login = grant(refresh_token=nothing)
        make_due(rig)
        ada.dashboard()

    stored = row(rig)
    assert first
    assert stored
    assert stored.generation == first.generation + 2
    assert stored.sealed_refresh_token == first.sealed_refresh_token


CLASSES = [
    (403, {"error": "invalid_grant"}, "grant_refused"),
    (401, {"error": "invalid_client"}, "client_refused"),
    (401, {"error": "access_denied"}, "client_refused"),
    (403, {"error": "access_denied"}, "request_refused"),
    (400, {"error": "interaction_required"}, "grant_refused"),
    (400, {"error": "unauthorized_client"}, "client_refused"),
    (429, {"error": "too_many_requests"}, "login_busy"),
    (400, {"error": "invalid_request"}, "request_refused"),
    (503, {"error": "temporarily_unavailable"}, "answer_lost"),
    (502, b"<h1>Bad gateway</h1>", "answer_lost"),
    (500, GOOD, "answer_lost"),
    (400, GOOD, "request_refused"),
]


@pytest.mark.short_form(4)
@pytest.mark.parametrize(("status", "body", "told"), CLASSES)
def test_s33_no_one_answer_ends_a_connection(
    rig: Rig, katana: Katana, ada: Maker, status: int, body: object, told: str
) -> None:
    """S-33, A-9: each class by its word; our own mistake is an error in the log, no user's."""
    connect(ada)
    katana.login = as_json(body, status)
    make_due(rig)

    page = ada.dashboard()

    stored = row(rig)
    assert stored
    assert (page.status, stored.status) == (200, Status.ACTIVE)
    assert last_event(rig) == ("refresh_failed", told)
    assert ("check KATANA_CLIENT_ID" in rig.log()) is (told == "client_refused")
