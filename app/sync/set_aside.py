"""Records that cannot be read: kept aside with the reason, shown, tried again, stopping nothing."""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, delete, insert, select, update
from sqlalchemy import Connection as Database

from app.connections.backoff import exponential
from app.database.clock import Clock
from app.database.engine import single_reads
from app.katana.fields import MOST_ID
from app.sync.models import SetAside
from app.sync.resources import Owner

RETRY_SECONDS, LONGEST_SECONDS = 300.0, 24 * 3600.0  # doubles with each try
AT_ONCE = 50

logger = logging.getLogger(__name__)


class Aside:
    """The table of what is set aside."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._reading = single_reads(engine)
        self._clock = clock

    def due(self, owner: Owner) -> Sequence[int]:
        """Katana's ids of what is to be tried again now."""
        due = select(SetAside.record_id).where(
            _of(owner), SetAside.retry_at <= self._clock.database_time()
        )
        with self._reading.connect() as database:
            found = database.scalars(due.order_by(SetAside.retry_at).limit(AT_ONCE)).all()
        return [int(name) for name in found if name.isdigit()]

    def keep(
        self, database: Database, owner: Owner, well: Collection[str], bad: Mapping[str, str]
    ) -> None:
        """Forget those that are `well`, by name; remember the `bad` ones with their reasons."""
        tries = select(SetAside.record_id, SetAside.tries).where(_of(owner))
        known = {name: tried for name, tried in database.execute(tries)}
        over = known.keys() & set(well) - bad.keys()
        if over:
            database.execute(delete(SetAside).where(_of(owner), SetAside.record_id.in_(over)))
        for name, reason in bad.items():
            if name not in known:
                said = (owner.connection_id, owner.resource, name, reason)
                logger.warning("connection %s: %s %s is set aside: %s", *said)
            self._note(database, owner, name, reason, known.get(name, 0))

    def sweep(self, database: Database, owner: Owner) -> None:
        """Forget what no pass since `owner.mark` has met."""
        database.execute(delete(SetAside).where(_of(owner), SetAside.mark < owner.mark))

    def _note(self, database: Database, owner: Owner, name: str, reason: str, tries: int) -> None:
        pause = exponential(tries, RETRY_SECONDS, LONGEST_SECONDS)
        retry_at = self._clock.database_time(pause)
        values = {"reason": reason, "tries": tries + 1, "retry_at": retry_at, "mark": owner.mark}
        if tries:
            this_one = and_(_of(owner), SetAside.record_id == name)
            database.execute(update(SetAside).where(this_one).values(values))
            return

        key = {"connection_id": owner.connection_id, "resource": owner.resource, "record_id": name}
        database.execute(
            insert(SetAside).values(first_at=self._clock.database_time(), **key, **values)
        )


def name_of(record: Any) -> str:
    """Katana's id as text; a hash of the record where it has none that can be used."""
    found = record.get("id", record.get("variant_id")) if isinstance(record, dict) else None
    text = str(found) if type(found) in (int, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MOST_ID:
        return str(int(text))

    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _of(owner: Owner) -> ColumnElement[bool]:
    return and_(SetAside.connection_id == owner.connection_id, SetAside.resource == owner.resource)
