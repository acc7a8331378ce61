"""What happens when many callers find the token expired at the same moment."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from statistics import median

from benchmarks import databases
from benchmarks.callers import Callers, callers
from benchmarks.measuring import Measured, in_turn
from benchmarks.peers import Pair, Peer, peer
from benchmarks.peers.this_app import ThisApp
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Bar, Chart, Table
from benchmarks.token_endpoint import Login, login, pair

PROCESSES, THREADS = 4, 16
FEW_THREADS = 2
FEW = f"this app, {PROCESSES * FEW_THREADS} callers"
ENDPOINT_SECONDS = 0.1
AIM_SECONDS = 1.5 * ENDPOINT_SECONDS + 0.05
OTHERS = ("Authlib", "slack_sdk", "Flask-Dance")
WARM_UP = 1_000_000  # a user whose token is valid
LIFE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Storm:
    """The result of one round."""

    calls: int
    refreshes: int
    failed: int  # calls
    working: int  # tokens that callers got and that are valid
    connected: bool
    seconds: float


def measure(task: Task) -> Answer:
    """Refreshes, failures, the state of the connection, and the time of the last caller."""
    turns, storms, others = task.size((3, 3, OTHERS), (1, 2, OTHERS[:1]))
    keys = {"TOKEN_ENCRYPTION_KEYS": databases.environ("")["TOKEN_ENCRYPTION_KEYS"]}
    with task.databases.app("postgresql", "storm", keys) as app, ExitStack() as stack:
        server = stack.enter_context(login(ENDPOINT_SECONDS))
        users = Users(turns * storms * (2 + len(others)))
        weather = Weather(app.config["SQLALCHEMY_DATABASE_URI"], keys, server, users)
        asking = {
            name: partial(weather.storms, name, stack.enter_context(weather.stored(name)), storms)
            for name in ("this app", *others)
        }
        asking[FEW] = partial(
            weather.storms, "this app", ThisApp.current(), storms, threads=FEW_THREADS
        )
        found = in_turn(asking, rounds=turns)
    return _answer({name: list(chain(*turns)) for name, turns in found.items()})


class Users:
    """Users with expired tokens, one for each storm."""

    def __init__(self, number: int) -> None:
        self.expired = {n: Pair(*pair(n, 0)) for n in range(1, number + 1)}
        self.good = {WARM_UP: Pair(*pair(WARM_UP, 0))}
        self._left = iter(self.expired)
        # The users of all contenders are in the app's own table.
        ours = ThisApp.current()
        ours.store(self.expired, -60)
        ours.store(self.good, LIFE_SECONDS)

    def next(self) -> int:
        """A user who was in no storm yet."""
        return next(self._left)


@dataclass(frozen=True)
class Weather:
    """The environment that all contenders share: one database, one login server."""

    database_url: str
    keys: Mapping[str, str]
    server: Login
    users: Users

    @contextmanager
    def stored(self, name: str) -> Iterator[Peer]:
        """A contender, with all users stored."""
        if name == "this app":
            yield ThisApp.current()
            return

        other = peer(name, self.database_url, self.server.url)
        other.create()
        other.store(self.users.expired, -60)
        other.store(self.users.good, LIFE_SECONDS)
        yield other
        other.close()

    def storms(self, name: str, stored: Peer, number: int, threads: int = THREADS) -> list[Storm]:
        """Run `number` storms on one contender, with `threads` threads in each process."""
        # The processes of one contender at a time: together they would exceed PostgreSQL's
        # connection limit.
        with callers(
            name,
            self.database_url,
            self.server.url,
            processes=PROCESSES,
            threads=threads,
            warm_up=WARM_UP,
            environ=self.keys,
        ) as crowd:
            storms = [self._storm(crowd, stored, self.users.next()) for _ in range(number)]
        assert {storm.calls for storm in storms} == {PROCESSES * threads}
        return storms

    def _storm(self, crowd: Callers, stored: Peer, number: int) -> Storm:
        calls = crowd.ask_at_once(number)
        family, kept = self.server.family(number), stored.stored(number)
        return Storm(
            calls=len(calls),
            refreshes=family.sent,
            failed=sum(call.token is None for call in calls),
            working=sum(family.alive and call.token == kept.access for call in calls),
            connected=family.alive and kept == Pair(*pair(number, family.generation)),
            seconds=max(call.ended for call in calls) - min(call.began for call in calls),
        )


def _answer(found: Mapping[str, Sequence[Storm]]) -> Answer:
    ours, callers_ = found["this app"], PROCESSES * THREADS
    last = Measured(tuple(storm.seconds for storm in ours))
    return Answer(
        question="What happens when everybody finds the token expired at once?",
        how=(
            f"{PROCESSES} processes with {THREADS} threads each ask for the token of one user at "
            f"the same moment, on PostgreSQL; it has expired. The login server answers in "
            f"{ENDPOINT_SECONDS * 1000:.0f} ms, takes a refresh token once, and kills the family "
            "when a spent one comes again, as Katana does. Connections to the database are open "
            f"and everything is loaded. {len(ours)} storms each, in turn; medians. The token works "
            "where the family that it is of lives."
        ),
        tables=[
            Table(
                head=[
                    "",
                    "refreshes sent",
                    "calls that failed",
                    "callers with a token that works",
                    "still connected",
                    "last caller after",
                    "middle half",
                ],
                rows=[_row(name, storms) for name, storms in found.items()],
                chart=Chart(
                    "storm",
                    f"Refresh tokens sent by {callers_} callers at once: one is right",
                    "sent",
                    [
                        Bar(name, median(s.refreshes for s in storms), name == "this app")
                        for name, storms in found.items()
                        if name != FEW
                    ],
                ),
            )
        ],
        aims=[
            Aim(
                "One refresh, no failure, still connected, in every storm",
                f"{sum(_is_well(storm) for storm in ours)} of {len(ours)} storms",
                all(_is_well(storm) for storm in ours),
            ),
            Aim(
                f"The last caller has a token within {AIM_SECONDS * 1000:.0f} ms",
                f"{last.median * 1000:.0f} ms",
                last.median <= AIM_SECONDS,
            ),
        ],
        notes=[_where_the_time_goes(found)],
        in_short=(
            f"When {callers_} callers find the token expired at once, **one** refresh is sent and "
            f"all have the new token after {last.median * 1000:.0f} ms; Authlib's automatic "
            f"refresh sends {median(s.refreshes for s in found['Authlib']):.0f}, and the "
            "connection is lost."
            if all(_is_well(s) for s in ours) and not any(s.connected for s in found["Authlib"])
            else ""
        ),
    )


def _where_the_time_goes(found: Mapping[str, Sequence[Storm]]) -> str:
    last = {name: median(storm.seconds for storm in storms) for name, storms in found.items()}
    nearest = min(last.keys() & OTHERS, key=last.__getitem__)
    return (
        f"The last caller waits for the processor: with {PROCESSES * FEW_THREADS} callers it has "
        f"the token after {last[FEW] * 1000:.0f} ms. On {os.cpu_count()} processors "
        f"{PROCESSES * THREADS} threads of Python take turns to look, and so does the one among "
        f"them that asks. {nearest}, whose callers wait for nobody and all ask at once, has its "
        f"last answer after {last[nearest] * 1000:.0f} ms."
    )


def _row(name: str, storms: Sequence[Storm]) -> list[str]:
    last = Measured(tuple(storm.seconds for storm in storms))
    return [
        name,
        f"{median(storm.refreshes for storm in storms):.0f}",
        f"{median(storm.failed for storm in storms):.0f}",
        f"{median(storm.working for storm in storms):.0f}",
        f"{sum(storm.connected for storm in storms)} of {len(storms)}",
        f"{last.median * 1000:.0f} ms",
        " to ".join(f"{end * 1000:.0f} ms" for end in last.spread),
    ]


def _is_well(storm: Storm) -> bool:
    return (
        storm.refreshes == 1
        and storm.failed == 0
        and storm.working == storm.calls
        and storm.connected
    )
