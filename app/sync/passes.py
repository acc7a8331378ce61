"""Which page to read next: a pass over a list that changes while it is read.

Katana pages by number. Between two requests a record can leave or enter the list, and then the
records after it move to other pages. No record may be skipped because of this.

*One page*: one response is consistent. If it has all records, no upper limit for `updated_at` is
needed and the pass is over. This is the normal case: one request.

*Several pages*: the pass has a window of `updated_at` with a fixed upper end: Katana's time of the
first response, minus 2 seconds for commits that are not visible yet. From then on records only
leave the window: an update moves their `updated_at` beyond the end, or they are deleted. Pages are
read from the last to the first. If a record leaves, the records after it move to lower pages, which
are still to be read. So a record may be read twice, but none is skipped. A record that left by an
update is in the window of the next pass, which follows at once.

*The list has grown* all the same (a late commit, or stock, whose list has no window): unread
records have moved up by at most as many places as the list has grown. The pages with these places
are read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from app.katana.client import Page
from app.sync.models import SyncCursor

#: A pass begins this long before the position: Katana may commit records out of order.
OVERLAP = timedelta(seconds=60)
#: A window of several pages ends this long before Katana's time.
SETTLE = timedelta(seconds=2)
#: How often a whole list is read, to find records that were deleted without a mark.
WHOLE_AFTER = timedelta(days=1)
INSTANT = timedelta(milliseconds=1)  # the precision of Katana's timestamps
FIRST_LOOK = 0
MOST = 2**31 - 1  # the largest value of an integer column


@dataclass(frozen=True)
class Pass:
    """The state of a pass, as stored in the cursor."""

    #: The next page to read; FIRST_LOOK requests page 1 to find out the number of pages.
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
        """The pass to continue, or a new one."""
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
        """Whether one response had all records."""
        return self.pages <= 1 and self.until is None

    @property
    def is_new(self) -> bool:
        """Whether no page has been read."""
        return self.page == FIRST_LOOK and self.pages == 0

    @property
    def is_over(self) -> bool:
        """Whether every page has been read."""
        return self.page == FIRST_LOOK and self.pages > 0

    def swept_below(self, *, dated: bool) -> int:
        """Rows with a lower mark no longer exist at Katana; 0 if this is not known.

        Only a single response is consistent. A whole pass of several pages can miss records that
        are updated during it, so rows are deleted only after a later pass of one page. Stock that
        two passes in a row have not read is gone.
        """
        if not self.is_over:
            return 0
        if self.is_single:
            return self.mark

        return 0 if dated else self.mark - 1

    def query(self) -> Mapping[str, int | str]:
        """The query parameters: the page and the window."""
        window = {"updated_at_min": self.since, "updated_at_max": self.until}
        moments = {name: iso(moment) for name, moment in window.items() if moment}
        return {"page": max(self.page, 1), **moments}

    def after(self, answer: Page, highest: datetime | None, *, dated: bool) -> "Pass":
        """The pass after `answer` is stored; `highest` is the latest `updated_at` in it."""
        highest = _later(self.highest, _not_later(highest, answer.at))
        pages, total = min(max(answer.pages, 1), MOST), min(answer.total, MOST)
        moved = replace(self, pages=pages, total=total, highest=highest)
        if self.page == FIRST_LOOK:
            return moved._looked(answer, dated)

        if self.page > pages:  # the list has shrunk, and this page is beyond its end
            return replace(moved, page=pages)

        return moved._walked(grown=total - self.total)

    def _looked(self, answer: Page, dated: bool) -> "Pass":
        if self.pages == 1:
            return replace(self, page=FIRST_LOOK, seen=self.total)

        until = self._upper_end(answer.at) if dated else None
        return replace(self, page=self.pages, until=until, seen=len(answer.records))

    def _upper_end(self, at: datetime | None) -> datetime | None:
        end = at - SETTLE if at else None
        # If Katana's clocks disagree, end at `highest`: records can only leave that window too.
        return end if end and (self.since is None or end > self.since) else self.highest

    def _walked(self, *, grown: int) -> "Pass":
        at_least = max(1, self.total // self.pages)  # records on a page
        again = min(self.pages, self.page + ceil(grown / at_least))
        page = again if grown > 0 else self.page - 1  # page 0 is FIRST_LOOK: the pass is over
        return replace(
            self, page=page, seen=max(0, self.total - page * ceil(self.total / self.pages))
        )


def _since(cursor: SyncCursor) -> datetime | None:
    """The lower end of a pass: OVERLAP before the position.

    An overlap of more than one page would be read again in every pass, without new records. Once
    Katana's clock is past it, nothing can be committed in it any more, and it is left out.
    """
    position = cursor.position
    if position is None:
        return None

    left_behind = cursor.pages > 1 and cursor.until and cursor.until >= position + OVERLAP
    left_out = cursor.since is not None and cursor.since > position
    return position + INSTANT if left_behind or left_out else position - OVERLAP


def iso(moment: datetime) -> str:
    """A time in Katana's format."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment), default=None)


def _not_later(moment: datetime | None, than: datetime | None) -> datetime | None:
    return min(moment, than) if moment and than else moment
