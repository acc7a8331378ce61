"""Do the tests bite? Each guard of refreshing is weakened in a copy, and a test must fail.

The list is the proof: what was changed, and which test notices.
"""

from pathlib import Path

import pytest

from tests.mutants import Mutant, assert_in_place, assert_noticed

REFRESH, LEASES = "app/connections/refresh.py", "app/connections/leases.py"
SAVING, INCIDENTS = "app/connections/saving.py", "app/connections/incidents.py"

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
        "if self.send_before is not None and monotonic() > self.send_before:",
        "if False:",
        "tests/test_refresh_crashes.py::test_a_process_that_wakes_up_after_its_lease_does_not_send",
    ),
    Mutant(
        "an answer is saved only over the generation that was sent",
        SAVING,
        ".where(Connection.id == lease.connection_id, or_(unmoved, sibling))",
        ".where(Connection.id == lease.connection_id)",
        "tests/test_refresh.py::test_reconnecting_meanwhile_wins",
    ),
    Mutant(
        "of two answers the later one stays",
        SAVING,
        "Connection.written_fence < held.fence",
        "Connection.written_fence != held.fence",
        "tests/test_refresh_crashes.py::test_two_answers_to_one_token_end_with_the_newer_one",
    ),
    Mutant(
        "an answer that is late but alone is saved",
        SAVING,
        "or_(unmoved, sibling))",
        "or_(unmoved, sibling), Connection.lease_until > clock.database_time())",
        "tests/test_refresh_crashes.py::test_an_answer_in_a_sleeping_hand_is_not_thrown_away",
    ),
    Mutant(
        "saving goes on until the database is back",
        REFRESH,
        '(DBAPIError, PoolTimeout):\n                logger.exception("connection %s: not saved',
        'ZeroDivisionError:\n                logger.exception("connection %s: not saved',
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
        "        if held.refused_before or (held.doubtful and held.failures <= 1):",
        "        if True:",
        "tests/test_refresh.py::test_one_refusal_is_not_believed",
    ),
    Mutant(
        "a host that was suspended is late",
        "app/database/clock.py",
        "return time.clock_gettime(_COUNTS_WHILE_SUSPENDED)",
        "return time.monotonic()",
        "tests/test_refresh.py::test_a_host_that_was_suspended_does_not_send",
    ),
    Mutant(
        "a refusal is of the token that was sent",
        LEASES,
        "            .where(_held_by(lease), its_token)\n",
        "            .where(_held_by(lease))\n",
        "tests/test_refresh.py::test_a_verdict_on_what_has_moved_is_refused",
    ),
    Mutant(
        "a lost answer is named as the cause",
        REFRESH,
        "Reason.ANSWER_LOST if held.doubtful else",
        "Reason.ANSWER_LOST if not held.refused_before else",
        "tests/test_refresh.py::test_an_answer_lost_in_an_outage_is_named_as_the_cause",
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
        "if alone and self._incidents.may_send() else None",
        "if alone else None",
        "tests/test_refresh.py::test_katana_refusing_everybody_ends_nobody",
    ),
    Mutant(
        "one thread of a process asks for the lease",
        REFRESH,
        "if alone and self._incidents.may_send() else None",
        "if self._incidents.may_send() else None",
        "tests/test_refresh.py::test_one_thread_of_a_process_asks_for_the_lease",
    ),
    Mutant(
        "a lost answer leaves a doubt",
        REFRESH,
        ", spent=lost\n",
        ", spent=False\n",
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
        "who did not get the lease does not send",
        LEASES,
        "        return lease if taken else None",
        "        return lease",
        "tests/test_refresh.py::test_a_claim_on_what_is_leased_is_refused",
    ),
    Mutant(
        "the wait for the claim counts",
        LEASES,
        "        return lease if taken else None",
        "        import dataclasses\n"
        "        late = dataclasses.replace(lease, claimed=self._clock.monotonic())\n"
        "        return late if taken else None",
        "tests/test_refresh.py::test_a_claim_holds_from_before_it_was_made",
    ),
    Mutant(
        "a verdict is for the generation that was sent",
        LEASES,
        ".where(_held_by(lease), Connection.generation == lease.generation)\n            .values(",
        ".where(_held_by(lease))\n            .values(",
        "tests/test_refresh.py::test_a_verdict_on_what_has_moved_is_refused",
    ),
    Mutant(
        "moments are the database's",
        "app/database/clock.py",
        "        return DatabaseTime(literal(float(plus), Float))",
        "        from datetime import UTC, datetime\n\n"
        "        from sqlalchemy import bindparam\n\n"
        "        def ours():\n"
        "            return datetime.fromtimestamp(time.time() + plus, UTC)\n\n"
        "        return bindparam(None, type_=Timestamp, callable_=ours)",
        "tests/test_wrong_clock.py::test_a_living_token_is_alive_for_all",
    ),
    Mutant(
        "nobody asks the clock of this machine",
        INCIDENTS,
        "from app.database.clock import Clock\n",
        "from time import time\n\nfrom app.database.clock import Clock\n",
        "tests/test_repository.py::test_no_worker_judges_by_its_own_clock",
    ),
    Mutant(
        "a save that counted is not taken for the grant that came after it",
        SAVING,
        "        _of_the_same_token(lease),\n        Connection.written_fence == held.fence,",
        "        Connection.written_fence == held.fence,",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a token that is saved late lives no longer for it",
        "app/connections/grants.py",
        "usable_seconds(grant.expires_in) - age",
        "usable_seconds(grant.expires_in)",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "renewals are spread",
        "app/connections/grants.py",
        "MARGIN_SECONDS) * jitter(1, 2)",
        "MARGIN_SECONDS) * 1.5",
        "tests/test_refresh.py::test_connections_made_together_are_not_renewed_together",
    ),
    Mutant(
        "pauses are spread",
        "app/connections/pauses.py",
        "min(failures, 20)) * jitter(1, 1.5)",
        "min(failures, 20)) * 1.25",
        "tests/test_refresh.py::test_pauses_after_a_failure_are_spread",
    ),
    Mutant(
        "a holder that must have died is not waited for",
        REFRESH,
        "        if seen.working > PATIENCE_SECONDS:",
        "        if False:",
        "tests/test_refresh.py::test_a_holder_that_must_have_died_is_not_waited_for",
    ),
    Mutant(
        "renewing ahead of the end may fail",
        REFRESH,
        "        except (DBAPIError, PoolTimeout, SealBroken):",
        "        except ZeroDivisionError:",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "what was refreshed during a disconnect and a connect is not revoked",
        REFRESH,
        "        if self._leases.connected(lease.user_id):",
        "        if self._leases.look(lease.connection_id):",
        "tests/test_refresh.py",
    ),
    Mutant(
        "connecting is no sign that Katana renews again",
        INCIDENTS,
        ".where(renewed).scalar_subquery()",
        ".scalar_subquery()",
        "tests/test_refresh.py::test_connecting_is_no_sign_that_katana_renews_again",
    ),
    Mutant(
        "a refusal after an outage counts as one",
        LEASES,
        "                refused_at=func.coalesce(refusal, Connection.refused_at),\n",
        "",
        "tests/test_refresh.py::test_refusals_that_follow_an_outage_are_part_of_it",
    ),
    Mutant(
        "a refusal after an outage is asked about once more",
        REFRESH,
        "(held.doubtful and held.failures <= 1)",
        "held.doubtful",
        "tests/test_refresh.py::test_refusals_that_follow_an_outage_are_part_of_it",
    ),
    Mutant(
        "who comes second to a row gets a row count",
        "app/settings/config.py",
        "default_transaction_isolation=read",
        "cursor_tuple_fraction=0.1 -c application_name=read",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "nothing is kept in a session of the database",
        "app/settings/config.py",
        '            "prepare_threshold": None,\n',
        "",
        "tests/test_refresh_database.py",
    ),
    Mutant(
        "a refresh token that is not given anew is kept",
        "app/connections/grants.py",
        "    if grant.refresh_token is not None:",
        "    if True:",
        "tests/test_refresh.py::test_an_answer_without_a_refresh_token_keeps_the_old_one",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_where_the_list_says(mutant: Mutant) -> None:
    """Each stands in the code exactly once, so that the list stays true."""
    assert_in_place(mutant)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_guard_is_noticed_when_it_is_gone(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, its tests fail."""
    assert_noticed(mutant, tmp_path / "tree")
