"""Which page to read next: a pass over a list that changes while it is read.

Katana pages by number. Between two pages a record may leave the list, or come into it, and all
records behind it move to another page. No record may be skipped for that.

*One page* is one answer: nothing can move within it. A pass whose first look finds a single page
asks for no upper end and is over. That is the normal case: one request.

*Several pages*: the window's upper end is fixed at Katana's time of the first answer, less a
moment for what Katana has still to commit. From then on records only leave the window: by being
updated, which moves their `updated_at` behind its end, or by being deleted. Pages are read from
the last to the first. A record that leaves shifts only those behind it, towards lower pages, which
are still to be read: a record may be read twice, and none is skipped. What left by an update is in
the window of the next pass, which follows at once.

*A list that has grown* all the same (a late commit, or stock, whose list has no window) has moved
unread records up by at most as many places as it has grown. So many pages are read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from app.katana.client import Page
from app.sync.models import SyncCursor

#: How far behind the position a pass begins: Katana may commit a record after a later one.
OVERLAP = timedelta(seconds=60)
#: How long before Katana's own time a window of several pages ends.
SETTLE = timedelta(seconds=2)
#: How often a whole list is read again, to find what vanished without being marked as deleted.
WHOLE_AFTER = timedelta(days=1)
INSTANT = timedelta(milliseconds=1)  # the least difference between two of Katana's moments
FIRST_LOOK = 0
MOST = 2**31 - 1  # what a column holds


@dataclass(frozen=True)
class Pass:
    """A pass under way, as it stands in the cursor."""

    #: The next page to read; FIRST_LOOK asks for page 1 to find out how many there are.
    page: int
    pages: int
    total: int
    seen: int
    is_whole: bool
    mark: int
    since: datetime | None
    until: datetime | None
    #: The highest `updated_at` read so far, never later than Katana's own time.
    highest: datetime | None
    started_at: datetime | None

    @classmethod
    def of(cls, cursor: SyncCursor, now: datetime, *, dated: bool) -> "Pass":
        """The pass to go on with, or a new one."""
        if cursor.page is not None:
            return cls(**{field.name: getattr(cursor, field.name) for field in fields(cls)})

        old = cursor.whole_at is None or cursor.whole_at < now - WHOLE_AFTER
        whole = not dated or old or cursor.position is None
        return cls(
            page=FIRST_LOOK,
            pages=0,
            total=cursor.total,
            seen=0,
            is_whole=whole,
            mark=cursor.mark + 1 if whole else cursor.mark,
            since=None if whole else _since(cursor),
            until=None,
            highest=None,
            started_at=now,
        )

    def columns(self) -> dict[str, Any]:
        """The pass as columns of its cursor."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def is_single(self) -> bool:
        """Whether one answer held all of it."""
        return self.pages <= 1 and self.until is None

    @property
    def is_new(self) -> bool:
        """Whether nothing of it has been read."""
        return self.page == FIRST_LOOK and self.pages == 0

    @property
    def is_over(self) -> bool:
        """Whether every page has been read."""
        return self.page == FIRST_LOOK and self.pages > 0

    def swept_below(self, *, dated: bool) -> int:
        """Once the pass is over: rows with a lower mark exist at Katana no more. 0: none yet.

        Only one answer shows all at one moment. A whole pass of several pages misses what was
        updated meanwhile, which the next pass of one page meets; stock that two passes in a row
        have missed is gone.
        """
        if not self.is_over:
            return 0
        if self.is_single:
            return self.mark

        return 0 if dated else self.mark - 1

    def query(self) -> Mapping[str, int | str]:
        """What to ask for: the page and the window."""
        window = {"updated_at_min": self.since, "updated_at_max": self.until}
        moments = {name: iso(moment) for name, moment in window.items() if moment}
        return {"page": max(self.page, 1), **moments}

    def after(self, answer: Page, highest: datetime | None, *, dated: bool) -> "Pass":
        """The pass once `answer` is stored; `highest` is the latest `updated_at` in it."""
        highest = _later(self.highest, _not_later(highest, answer.at))
        pages, total = min(max(answer.pages, 1), MOST), min(answer.total, MOST)
        moved = replace(self, pages=pages, total=total, highest=highest)
        if self.page == FIRST_LOOK:
            return moved._looked(answer, dated)

        if self.page > pages:  # the list has shrunk, and this page was behind its end
            return replace(moved, page=pages)

        return moved._walked(grown=total - self.total)

    def _looked(self, answer: Page, dated: bool) -> "Pass":
        if self.pages == 1:
            return replace(self, page=FIRST_LOOK, seen=self.total)

        until = self._upper_end(answer.at) if dated else None
        return replace(self, page=self.pages, until=until, seen=len(answer.records))

    def _upper_end(self, at: datetime | None) -> datetime | None:
        end = at - SETTLE if at else None
        # A Katana whose two clocks disagree: any end is right from which records only leave.
        return end if end and (self.since is None or end > self.since) else self.highest

    def _walked(self, *, grown: int) -> "Pass":
        at_least = max(1, self.total // self.pages)  # records on a page
        again = min(self.pages, self.page + ceil(grown / at_least))
        page = again if grown > 0 else self.page - 1  # below page 1 is FIRST_LOOK: it is over
        return replace(
            self, page=page, seen=max(0, self.total - page * ceil(self.total / self.pages))
        )


def _since(cursor: SyncCursor) -> datetime | None:
    """Where a pass begins: some time before the position.

    An overlap that fills more than a page would be read at every pass for no news. Once Katana's
    clock has left it behind, nothing can be committed in it any more, and it is left out.
    """
    position = cursor.position
    if position is None:
        return None

    left_behind = cursor.pages > 1 and cursor.until and cursor.until >= position + OVERLAP
    left_out = cursor.since is not None and cursor.since > position
    return position + INSTANT if left_behind or left_out else position - OVERLAP


def iso(moment: datetime) -> str:
    """A moment as Katana writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment), default=None)


def _not_later(moment: datetime | None, than: datetime | None) -> datetime | None:
    return min(moment, than) if moment and than else moment
