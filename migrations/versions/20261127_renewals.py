"""Count renewals on the connection instead of listing them, and note when failures began.

The new columns have defaults, so that processes of the version before go on working beside new
ones. The rows they add meanwhile are not shown.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261127_renewals"
down_revision = "20261125_overdue_index"
branch_labels = None
depends_on = None

connections = sa.table(
    "connections", sa.column("id"), sa.column("user_id"), sa.column("renewals", sa.Integer)
)
events = sa.table(
    "connection_events",
    sa.column("id", sa.Integer),
    sa.column("user_id"),
    sa.column("connection_id"),
    sa.column("kind", sa.String),
    sa.column("detail", sa.String),
)


def upgrade() -> None:
    op.add_column(
        "connections", sa.Column("renewals", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "connections", sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute(sa.update(connections).values(renewals=_since_the_last_connect()))
    op.execute(sa.delete(events).where(events.c.kind == "refreshed", events.c.detail.is_(None)))


def downgrade() -> None:
    op.drop_column("connections", "failing_since")
    op.drop_column("connections", "renewals")


def _since_the_last_connect() -> sa.ScalarSelect[int]:
    connects = events.alias()
    last = (
        sa.select(sa.func.coalesce(sa.func.max(connects.c.id), 0))
        .where(
            connects.c.user_id == connections.c.user_id,
            connects.c.connection_id == connections.c.id,
            connects.c.kind == "connected",
        )
        .correlate(connections)
        .scalar_subquery()
    )
    return (
        sa.select(sa.func.count())
        .select_from(events)
        .where(
            events.c.user_id == connections.c.user_id,
            events.c.connection_id == connections.c.id,
            events.c.kind == "refreshed",
            events.c.id > last,
        )
        .correlate(connections)
        .scalar_subquery()
    )
