"""Controls that change a factory's records, as buttons and as JSON; and all its records."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from flask import Blueprint, Response, jsonify
from werkzeug.wrappers import Response as AnyResponse

from sandbox import validation
from sandbox.factory_simulation import Happened, Life
from sandbox.form_or_json import asked, done, refuse_politely
from sandbox.happenings import Wish, come_true, wish_from
from sandbox.seed_factories import FACTORIES
from sandbox.state import Memory, memory, sandbox
from sandbox.webhook_dispatch import announce

bp = Blueprint("happening_controls", __name__)
refuse_politely(bp)

_MOST_GROWN = 500_000


@bp.post("/happen")
def happen() -> AnyResponse:
    """Change a factory now, or after a number of requests for its lists."""
    wish = wish_from(asked())
    wish = replace(wish, factory=_life(wish.factory).factory.key)
    if not wish.after_lists:
        return done({"happened": _happen(memory(), wish)})

    change = partial(_happen, memory(), wish)
    memory().schedule.after(wish.after_lists, str(wish.factory), wish.resource, change)
    return done({"waiting": len(memory().schedule)})


@bp.post("/grow")
def grow() -> AnyResponse:
    """Add many orders or customers, dated evenly over the last `days`, without events."""
    told = asked()
    life = _life(told.get("factory"))
    many = validation.whole_number("count", told.get("count"), low=1, high=_MOST_GROWN)
    days = validation.whole_number("days", told.get("days", 0), low=0, high=10_000)
    now = sandbox().clock.now()
    life.grow(str(told.get("resource", "sales_orders")), many, now - timedelta(days=days), now)
    return done({"grown": many})


@bp.get("/truth/<factory>")
def truth(factory: str) -> Response:
    """Return every record of a factory, deleted ones with `deleted_at`, oldest first."""
    stock = _life(factory).stock
    lists = {
        name: [kept.record for kept in reversed(records.ordered())]
        for name, records in stock.lists.items()
    }
    return jsonify(factory=stock.factory, **lists)


def _happen(memory: Memory, wish: Wish) -> list[dict[str, object]]:
    """Make a requested change as often as it says, and send its events."""
    life = memory.lives[str(wish.factory)]
    happened: list[Happened] = []
    for _ in range(wish.times):
        now = memory.clock.now() - timedelta(seconds=wish.late)
        came = come_true(wish, life, now)
        for event in (event for each in came for event in each.events if wish.announce):
            announce(memory, life.factory.key, event)
        happened += came
    return [_view(each) for each in happened]


def _view(happened: Happened) -> dict[str, object]:
    kept = happened.kept
    return {
        "resource": happened.resource,
        "id": kept.id,
        "serial": kept.serial,
        "updated_at": kept.updated_at,
        "deleted_at": kept.deleted_at,
    }


def _life(key: object) -> Life:
    """Return the named factory; without a name, that of the newest family.

    :raise LookupError: there is no such factory.
    """
    families = memory().families.all
    chosen = key or (families[-1].factory if families else FACTORIES[0].key)
    if not isinstance(chosen, str) or chosen not in memory().lives:
        raise LookupError(f"There is no factory called {chosen!r}.")

    return memory().lives[chosen]
