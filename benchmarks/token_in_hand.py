"""How long it takes to read a stored token, among a thousand rows and among a million."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from sqlalchemy import Engine, bindparam, create_engine, select

from app.connections.lease_statements import snapshot_columns
from app.connections.models import Connection
from app.database.clock import SystemClock
from benchmarks import databases
from benchmarks.measuring import Measured, seconds_per_call
from benchmarks.peers import Pair, Peer, peer
from benchmarks.peers.this_app import ThisApp
from benchmarks.question import Task
from benchmarks.results import Aim, Answer, Bar, Chart, Table

READ = 200  # tokens, all different, that are read again and again
LIFE_SECONDS = 24 * 3600
FLOOR = "one bare SELECT"
BAREST = "the same, without a transaction"
OTHERS = ("slack_sdk", "Flask-Dance", "social-core")
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

Found = dict[tuple[str, int], Measured]


def measure(task: Task) -> Answer:
    """The microseconds of a call, on both databases, with few rows and with many."""
    few, many = 1000, task.size(1_000_000, 50_000)
    found = {engine: _measure(task, engine, (few, many)) for engine in ENGINES}
    return Answer(
        question="How long does it take to have a live token in hand?",
        how=(
            f"Each call reads one user's stored access token, of {databases.TOKEN_CHARACTERS} "
            f"characters, and returns it; {READ} users in turn, stored among {few:,} or {many:,} "
            "rows. What is returned is checked. This app also opens the seal and judges by the "
            "database's clock whether the token is still good; the others store tokens in clear "
            "and are asked for nothing but the text. The floor is a SELECT of the columns that "
            "this app reads, through the same engine. The others have the engine that their pages "
            "show; it does not look whether a pooled connection to PostgreSQL still lives."
        ),
        tables=[_table(engine, few, many, found[engine]) for engine in ENGINES],
        aims=_aims(few, many, found),
        notes=[
            "Flask-Dance's model has no index on `user_id`, and its page shows none; it got one "
            "here. Without it each read scans all the rows.",
            _why_not_faster(many, found["postgresql"]),
        ],
        in_short=_in_short(many, found["postgresql"]),
    )


def _measure(task: Task, engine: str, sizes: tuple[int, ...]) -> Found:
    tokens = {number: databases.token(f"access-{number}") for number in range(1, READ + 1)}
    calls: dict[tuple[str, int], Callable[[int], str]] = {}
    with ExitStack() as stack:
        for rows in sizes:
            for name, call in stack.enter_context(_filled(task, engine, rows, tokens)).items():
                calls[name, rows] = call
        return seconds_per_call(calls, tokens, rounds=task.size(15, 3))


@contextmanager
def _filled(
    task: Task, engine: str, rows: int, tokens: Mapping[int, str]
) -> Iterator[dict[str, Callable[[int], str]]]:
    """All contenders, on their own database with so many rows."""
    pairs = {
        number: Pair(access, databases.token(f"refresh-{number}"))
        for number, access in tokens.items()
    }
    with task.databases.app(engine, f"tokens_{rows}") as app, ExitStack() as stack:
        url = app.config["SQLALCHEMY_DATABASE_URI"]
        ours = ThisApp.current()
        contenders: dict[str, Peer] = {"this app": ours, **{n: peer(n, url) for n in OTHERS}}
        for contender in contenders.values():
            stack.callback(contender.close)
            contender.create()
            contender.store(pairs, LIFE_SECONDS)
            contender.fill(READ + 1, rows)
        databases.settle(ours.engine)
        floors = {FLOOR: _floor(ours.engine, tokens)}
        if engine == "postgresql":
            options = app.config["SQLALCHEMY_ENGINE_OPTIONS"]
            barest = create_engine(url, isolation_level="AUTOCOMMIT", **options)
            stack.callback(barest.dispose)
            floors[BAREST] = _floor(barest, tokens)
        yield {**floors, **{name: contender.token for name, contender in contenders.items()}}


def _floor(engine: Engine, tokens: Mapping[int, str]) -> Callable[[int], str]:
    ids = {number: databases.id_of(number) for number in tokens}
    statement = select(*snapshot_columns(SystemClock())).where(Connection.id == bindparam("wanted"))

    def read(number: int) -> str:
        with engine.connect() as connection:
            row = connection.execute(statement, {"wanted": ids[number]}).first()
        assert row is not None
        assert row[0] == ids[number]
        return tokens[number]

    return read


def _table(engine: str, few: int, many: int, found: Found) -> Table:
    floor = found[FLOOR, many].median
    names = [name for name, rows in found if rows == many]
    return Table(
        title=ENGINES[engine],
        head=["", f"{few:,} rows", f"{many:,} rows", "middle half", "times the floor"],
        rows=[
            [
                name,
                _microseconds(found[name, few].median),
                _microseconds(found[name, many].median),
                " to ".join(_microseconds(end) for end in found[name, many].spread),
                f"{found[name, many].median / floor:.2f}",
            ]
            for name in names
        ],
        chart=Chart(
            f"token_in_hand_{engine}",
            f"A token in hand among {many:,} rows, {ENGINES[engine]}",
            "µs",
            [Bar(n, found[n, many].median * 1e6, n == "this app") for n in names],
        ),
    )


def _aims(few: int, many: int, found: Mapping[str, Found]) -> list[Aim]:
    def times(engine: str, name: str) -> float:
        """The smallest ratio of the time of another contender to that of this app."""
        here = found[engine]
        return min(here[name, n].median / here["this app", n].median for n in (few, many))

    def each(of: Callable[[str], float]) -> str:
        return ", ".join(f"{of(engine):.2f} on {name}" for engine, name in ENGINES.items())

    def floor(engine: str) -> float:
        return 1 / times(engine, FLOOR)

    def growth(engine: str) -> float:
        here = found[engine]
        return here["this app", many].median / here["this app", few].median

    slack, dance = (lambda e: times(e, "slack_sdk")), (lambda e: times(e, "Flask-Dance"))
    return [
        Aim("At most 1.3 times the floor", each(floor), all(floor(e) <= 1.3 for e in ENGINES)),
        Aim(
            "At least 1.5 times as fast as slack_sdk",
            each(slack),
            all(slack(e) >= 1.5 for e in ENGINES),
        ),
        Aim(
            "At least 3 times as fast as Flask-Dance",
            each(dance),
            all(dance(e) >= 3 for e in ENGINES),
        ),
        Aim(
            f"{many:,} rows cost no more than 1.2 times {few:,}",
            each(growth),
            all(growth(e) <= 1.2 for e in ENGINES),
        ),
    ]


def _in_short(many: int, found: Found) -> str:
    ours, slack, dance = (
        _microseconds(found[name, many].median) for name in ("this app", "slack_sdk", "Flask-Dance")
    )
    return (
        f"A live token is in hand in **{ours}** on PostgreSQL with {many:,} connections; "
        f"slack_sdk takes {slack}, Flask-Dance {dance}, for tokens that are not sealed."
    )


def _why_not_faster(many: int, found: Found) -> str:
    ours, dance, barest, floor = (
        found[name, many].median for name in ("this app", "Flask-Dance", BAREST, FLOOR)
    )
    return (
        f"On PostgreSQL, three times as fast as Flask-Dance would be {_microseconds(dance / 3)}. "
        "The SELECT alone, through SQLAlchemy and psycopg on a connection that is never in a "
        f"transaction and never looked at, takes {_microseconds(barest)}. This app adds "
        f"{_microseconds(ours - barest)}: half of it to take a connection out of transactions and "
        "back, since pages use the same ones and a second pool would double how many there are; "
        "the rest opens the seal, judges, and looks whether the server is still there. The floor "
        f"({_microseconds(floor)}) begins and ends a transaction, which this app does not."
    )


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"
