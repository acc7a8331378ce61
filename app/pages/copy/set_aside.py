"""Records of Katana that this app could not read, for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from app.database.db import db
from app.sync.models import SetAside

SHOWN = 20


@dataclass(frozen=True)
class Unread:
    """One record; `katana_id` is empty if it has no usable id."""

    katana_id: str
    reason: str


def set_aside(connection_id: UUID, resource: str) -> Sequence[Unread]:
    """The oldest ones, by the time when they were first found."""
    its = select(SetAside).where(
        SetAside.connection_id == connection_id, SetAside.resource == resource
    )
    found = db.session.scalars(its.order_by(SetAside.first_at, SetAside.record_id).limit(SHOWN))
    return [Unread(row.record_id if row.record_id.isdigit() else "", row.reason) for row in found]
