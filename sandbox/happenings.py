"""Changes of a factory that can be requested: their fields, and what they do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox import validation
from sandbox.factory_simulation import Happened, Life
from sandbox.record_templates import Record

_MOST = 1_000


@dataclass(frozen=True)
class Wish:
    """A requested change, made `times` times.

    `record` is the id of the record; None: the sandbox chooses one. `late` dates the change so many
    seconds back, as if its transaction had taken that long. `after_lists` is the number of requests
    for the list `resource` (None: for any list) to wait for.
    """

    what: str
    factory: str | None = None
    resource: str | None = None
    record: int | str | None = None
    serial: int | None = None
    fields: Record = field(default_factory=dict)
    omit: tuple[str, ...] = ()
    raw: object = ...
    times: int = 1
    late: float = 0
    announce: bool = True
    after_lists: int = 0


def wish_from(asked: Mapping[str, object]) -> Wish:
    """Return the change that a request describes.

    :raise ValueError: a field is unknown or missing, or has an invalid value.
    """
    for name in asked:
        if name not in _READ:
            raise ValueError(f"A happening has no field called {name!r}.")
    if "what" not in asked:
        raise ValueError("A happening needs `what`.")

    return Wish(**{name: _READ[name](name, value) for name, value in asked.items()})


def come_true(wish: Wish, life: Life, now: datetime) -> list[Happened]:
    """Make a requested change once; `now` is the timestamp of the changes.

    :raise LookupError: there is no such record or list.
    """
    return _WHAT[wish.what](life, wish, now)


def _busy_day(life: Life, wish: Wish, at: datetime) -> list[Happened]:
    """Add twelve orders, pack or deliver nine, cancel one, and change some stock."""
    came = [life.new_order(at, {}) for _ in range(12)]
    shipped = [life.ship_order(life.any_order(unshipped=True), at) for _ in range(9)]
    moved = [life.move_stock(life.any_variant(), at, {}) for _ in range(6)]
    return [*came, *shipped, life.delete_order(came[0].kept.id, at), *moved]


def _inject(life: Life, wish: Wish, at: datetime) -> list[Happened]:
    def spoil(sound: Record) -> object:
        if wish.raw is not ...:
            return wish.raw
        return {n: v for n, v in (sound | wish.fields).items() if n not in wish.omit}

    return [life.inject(_resource(wish), at, spoil)]


def _mend(life: Life, wish: Wish, at: datetime) -> list[Happened]:
    return [life.mend(_resource(wish), wish.serial or 0, at)]


def _rename(life: Life, wish: Wish, at: datetime) -> list[Happened]:
    life.stock.factory.update(wish.fields)
    return []


def _resource(wish: Wish) -> str:
    if wish.resource is None:
        raise ValueError(f"{wish.what} needs `resource`.")

    return wish.resource


def _record(wish: Wish, life: Life, resource: str) -> object:
    return life.any_of(resource) if wish.record is None else wish.record


def _order(wish: Wish, life: Life, *, unshipped: bool = False) -> object:
    return life.any_order(unshipped=unshipped) if wish.record is None else wish.record


_WHAT: dict[str, Callable[[Life, Wish, datetime], list[Happened]]] = {
    "new_order": lambda life, w, at: [life.new_order(at, w.fields)],
    "change_order": lambda life, w, at: [life.change_order(_order(w, life), at, w.fields)],
    "ship_order": lambda life, w, at: [life.ship_order(_order(w, life, unshipped=True), at)],
    "delete_order": lambda life, w, at: [life.delete_order(_order(w, life), at)],
    "stock_moves": lambda life, w, at: [
        life.move_stock(w.record if w.record is not None else life.any_variant(), at, w.fields)
    ],
    "busy_day": _busy_day,
    "new_customer": lambda life, w, at: [life.new_customer(at, w.fields)],
    "change": lambda life, w, at: [
        life.change(_resource(w), _record(w, life, _resource(w)), at, w.fields)
    ],
    "delete": lambda life, w, at: [life.delete(_resource(w), _record(w, life, _resource(w)), at)],
    "inject": _inject,
    "mend": _mend,
    "rename_factory": _rename,
}


def _record_id(name: str, value: object) -> int | str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{name} must be an id.")

    return value


def _fields(name: str, value: object) -> Record:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object.")

    return value


_READ: dict[str, Callable[[str, object], Any]] = {
    "what": lambda name, value: validation.one_of(name, value, _WHAT),
    "factory": validation.text_or_none,
    "resource": validation.text_or_none,
    "record": _record_id,
    "serial": lambda name, value: validation.whole_number(name, value, low=1, high=10**9),
    "fields": _fields,
    "omit": validation.words,
    "raw": lambda name, value: value,
    "times": lambda name, value: validation.whole_number(name, value, low=1, high=_MOST),
    "late": validation.seconds,
    "announce": validation.flag,
    "after_lists": lambda name, value: validation.whole_number(name, value, low=0, high=_MOST),
}
