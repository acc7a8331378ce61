"""Who issued an answer: S-13, and the OpenID Foundation's client modules O-1 to O-3 and O-6.

They are played as that suite plays them: after a wrong answer there must be no further request.
Its modules on ID tokens and metadata (O-7 to O-9) do not apply: this app signs nobody in by Katana,
and fetches no metadata. O-4 and O-5, the token answer, are in `tests/katana/test_login_answers.py`.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.support.actors import LIVE, Maker
from tests.support.callbacks import callback
from tests.support.rig import Rig
from tests.support.rows import connection
from tests.support.sandbox import Callback
from tests.support.until import until

pytestmark = pytest.mark.one_database

ALDER = "Alder &amp; Spoke Bicycles"
USED_UP = "This link from Katana no longer works"
ISSUER = "https://login.example/"

#: Almost the issuer, or more than one.
WRONG = (
    "",
    "https://login.example",
    "https://login.example//",
    "https://login.example/%20",
    "https://LOGIN.example/",
    "http://login.example/",
    "https://evil.example/",
    "https://login.example/&iss=https://login.example/",
    "https://login.example/&iss=https://evil.example/",
)


@pytest.fixture(scope="module")
def rig_settings() -> dict[str, str]:
    """Katana is known to send `iss`."""
    return {"KATANA_ISSUER": ISSUER}


@pytest.fixture
def ada(rig: Rig) -> Maker:
    """A maker who is signed in."""
    ada = rig.maker("ada")
    ada.sign_up()
    return ada


def issued(answer: Callback, by: str) -> Callback:
    """The answer, issued by this one."""
    return Callback(f"{answer.url}&iss={by}")


def without(answer: Callback, name: str) -> Callback:
    """The answer without this parameter."""
    address, query = answer.url.split("?")
    left = [(key, value) for key, value in parse_qsl(query) if key != name]
    return Callback(f"{address}?{urlencode(left)}")


def test_o1_the_happy_path(rig: Rig, ada: Maker) -> None:
    """O-1, S-13: an answer that names the issuer letter by letter connects."""
    page = ada.return_with(issued(rig.sandbox.approve(ada.begin()), ISSUER))

    assert f"Connected to {ALDER}." in page.text
    kinds = [request.kind for request in rig.sandbox.ledger().requests]
    assert kinds[:4] == ["authorize", "decision", "exchange", "api"]


@pytest.mark.parametrize("name", ["state", "code"])
def test_o2_without_state_or_code_nothing_more_is_asked(rig: Rig, ada: Maker, name: str) -> None:
    """O-2: what is missing is an error that the user sees, and the end."""
    answer = issued(rig.sandbox.approve(ada.begin()), ISSUER)

    page = ada.return_with(without(answer, name))

    assert_ended(rig, ada, page.status, page.text)


def test_o2_with_another_state_nothing_more_is_asked(rig: Rig, ada: Maker) -> None:
    """O-2: a state that is right but for one letter is wrong."""
    answer = issued(rig.sandbox.approve(ada.begin()), ISSUER)
    (state,) = [value for name, value in parse_qsl(urlsplit(answer.url).query) if name == "state"]
    changed = state[:-1] + ("B" if state[-1] == "A" else "A")

    page = ada.return_with(Callback(answer.url.replace(state, changed)))

    assert_ended(rig, ada, page.status, page.text)


@pytest.mark.parametrize("wrong", WRONG)
def test_o3_an_answer_of_another_issuer_ends_there(rig: Rig, ada: Maker, wrong: str) -> None:
    """O-3, S-13: an `iss` that differs by anything at all, or comes twice."""
    page = ada.return_with(issued(rig.sandbox.approve(ada.begin()), wrong))

    assert_ended(rig, ada, page.status, page.text)


def test_o3_an_answer_of_no_issuer_ends_there(rig: Rig, ada: Maker) -> None:
    """O-3, S-13: once the issuer is set, an answer that does not name it is not Katana's."""
    page = ada.return_with(rig.sandbox.approve(ada.begin()))

    assert_ended(rig, ada, page.status, page.text)
    assert "no iss in place of KATANA_ISSUER" in rig.log()


@pytest.mark.parametrize("error", ["access_denied", "server_error"])
def test_s13_a_refusal_of_another_issuer_is_not_told_as_katanas(
    rig: Rig, ada: Maker, error: str
) -> None:
    """S-13: what is said of Katana must be Katana's; a cancelled consent that is, is calm."""
    begun = [dict(parse_qsl(urlsplit(ada.begin()).query))["state"] for _ in range(2)]

    forged = ada.get(callback(error=error, state=begun[0], iss="https://evil.example/"))
    honest = ada.get(callback(error=error, state=begun[1], iss=ISSUER))

    assert_ended(rig, ada, forged.status, forged.text)
    assert USED_UP not in honest.text


@pytest.mark.slow
def test_o6_access_is_refused_until_it_was_renewed_twice(rig: Rig, ada: Maker) -> None:
    """O-6: the API says 401 until two rotations are over; then the data comes, and nothing died."""
    ada.return_with(issued(rig.sandbox.approve(ada.begin()), ISSUER))
    rig.sandbox.fault("api", "status", status=401, times=0)

    # The second refresh comes after a pause: a token that is seconds old is not the fault.
    until(lambda: ada.dashboard() and len(rig.sandbox.ledger().of("refresh")) >= 2)
    rig.sandbox.clear_faults()

    assert LIVE in ada.dashboard().text
    (family,) = rig.sandbox.ledger().families
    assert family.state == "live"
    assert [token.presented for token in family.refresh_tokens] == [1, 1, 0]


def assert_ended(rig: Rig, ada: Maker, status: int, text: str) -> None:
    """The user was told, Katana was asked for nothing more, and nothing is connected."""
    assert (status, USED_UP in text) == (400, True)
    asked = {request.kind for request in rig.sandbox.ledger().requests}
    assert asked <= {"authorize", "decision"}
    assert connection(rig.app) is None
