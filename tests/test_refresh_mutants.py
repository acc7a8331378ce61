"""Do the tests bite? Each guard of refreshing is weakened in a copy, and a test must fail.

The list is the proof: what was changed, and which test notices.
"""

from pathlib import Path

import pytest

from tests.mutants import Mutant, assert_noticed

REFRESH, LEASES = "app/connections/refresh.py", "app/connections/leases.py"

MUTANTS = [
    Mutant(
        "only what is read under the lease is sent",
        LEASES,
        ").where(_held_by(lease), Connection.generation == lease.generation)",
        ").where(Connection.id == lease.connection_id)",
        "tests/test_refresh.py::test_reconnecting_before_the_send_stops_it",
    ),
    Mutant(
        "the claim is for the generation that was seen",
        LEASES,
        "                Connection.generation == seen.generation,\n",
        "",
        "tests/test_refresh.py::test_a_claim_on_what_has_moved_is_refused",
    ),
    Mutant(
        "one holder at a time",
        LEASES,
        "                or_(Connection.lease_until.is_(None), Connection.lease_until < now),\n",
        "",
        "tests/test_refresh.py::test_a_claim_on_what_is_leased_is_refused",
    ),
    Mutant(
        "who slept does not send",
        REFRESH,
        "        if self._clock.monotonic() > send_before:",
        "        if False:",
        "tests/test_refresh.py::test_who_wakes_up_too_late_does_not_send",
    ),
    Mutant(
        "who slept until right before the send does not send",
        "app/katana/transport.py",
        "if self.send_before is not None and time.monotonic() > self.send_before:",
        "if False:",
        "tests/test_refresh_crashes.py::test_a_process_that_wakes_up_after_its_lease_does_not_send",
    ),
    Mutant(
        "an answer is saved only over the generation that was sent",
        LEASES,
        ".where(Connection.id == lease.connection_id, or_(unmoved, sibling))",
        ".where(Connection.id == lease.connection_id)",
        "tests/test_refresh.py::test_reconnecting_meanwhile_wins",
    ),
    Mutant(
        "of two answers the later one stays",
        LEASES,
        "Connection.written_fence < held.fence",
        "Connection.written_fence != held.fence",
        "tests/test_refresh_crashes.py::test_two_answers_to_one_token_end_with_the_newer_one",
    ),
    Mutant(
        "an answer that is late but alone is saved",
        LEASES,
        "or_(unmoved, sibling))\n            .values(\n                **columns,",
        "or_(unmoved, sibling), Connection.lease_until > now)\n"
        "            .values(\n                **columns,",
        "tests/test_refresh_crashes.py::test_an_answer_in_a_sleeping_hand_is_not_thrown_away",
    ),
    Mutant(
        "saving goes on until the database is back",
        REFRESH,
        "            except (DBAPIError, PoolTimeout):\n                # This is the only copy",
        "            except ZeroDivisionError:\n                # This is the only copy",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a save that was committed counts",
        REFRESH,
        ") or self._leases.saved(lease, held)",
        ")",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "the token is saved before it is handed out",
        REFRESH,
        "        return self._save(lease, held, grant, pause=REFUSED_SECONDS if paced else 0)",
        "        return grant.access_token",
        "tests/test_refresh.py::test_an_expired_token_is_renewed_once",
    ),
    Mutant(
        "one refusal is not believed",
        REFRESH,
        "        if held.refused_before or held.doubtful:",
        "        if True:",
        "tests/test_refresh.py::test_one_refusal_is_not_believed",
    ),
    Mutant(
        "many refusals are Katana's trouble",
        REFRESH,
        "        if self._incidents.under_way():",
        "        if False:",
        "tests/test_refresh.py::test_katana_refusing_everybody_ends_nobody",
    ),
    Mutant(
        "during an incident one is tried now and then",
        REFRESH,
        "seen.pausing or not self._incidents.may_send()",
        "seen.pausing",
        "tests/test_refresh.py::test_katana_refusing_everybody_ends_nobody",
    ),
    Mutant(
        "a lost answer leaves a doubt",
        REFRESH,
        "spent=lost)",
        "spent=False)",
        "tests/test_refresh.py",
    ),
    Mutant(
        "a pause is kept by everybody",
        LEASES,
        "or_(Connection.next_attempt_at.is_(None), Connection.next_attempt_at <= now),",
        "",
        "tests/test_refresh.py::test_a_claim_during_a_pause_is_refused",
    ),
    Mutant(
        "a refused token is not used again",
        REFRESH,
        "        return token if token != refused else None",
        "        return token",
        "tests/test_refresh.py::test_a_refused_token_is_renewed_once_for_all_who_had_it",
    ),
    Mutant(
        "a refresh token that is not given anew is kept",
        "app/connections/grants.py",
        "    if grant.refresh_token is not None:",
        "    if True:",
        "tests/test_refresh.py::test_an_answer_without_a_refresh_token_keeps_the_old_one",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_noticed_when_it_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, its tests fail."""
    assert_noticed(mutant, tmp_path / "tree")
