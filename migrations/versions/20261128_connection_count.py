"""A row for the number of connections, and an index by when they were made."""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

revision = "20261128_connection_count"
down_revision = "20261127_mails"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "connection_count",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(length=32), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_connection_count"),
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"  # where all migrations are one transaction
    with nullcontext() if is_sqlite else op.get_context().autocommit_block():
        # A concurrent build that was broken off has left an index that is not valid.
        op.drop_index("ix_connections_connected_at", "connections", if_exists=True)
        if not is_sqlite:  # blocks no other statement, and waits for every open transaction
            op.execute("SET lock_timeout = 0")
        op.create_index(
            "ix_connections_connected_at",
            "connections",
            ["connected_at"],
            postgresql_concurrently=True,
        )
        if not is_sqlite:
            op.execute("RESET lock_timeout")


def downgrade() -> None:
    op.drop_index("ix_connections_connected_at", "connections")
    op.drop_table("connection_count")
