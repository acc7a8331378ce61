"""Find cursors that are due by two indexes: those that wait for nothing else, and those that pause.

`ix_sync_cursors_due` stays: processes of the version before use it.
"""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import op

revision = "20261128_sync_due_indexes"
down_revision = "20261128_connection_count"
branch_labels = None
depends_on = None

#: By name: the column, and which rows.
INDEXES = {
    "ix_sync_cursors_ready": ("due_at", sa.text("next_attempt_at IS NULL")),
    "ix_sync_cursors_paused": ("next_attempt_at", sa.text("next_attempt_at IS NOT NULL")),
}


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"  # where all migrations are one transaction
    with nullcontext() if is_sqlite else op.get_context().autocommit_block():
        for name in INDEXES:
            # A concurrent build that was broken off has left an index that is not valid.
            op.drop_index(name, "sync_cursors", if_exists=True)
        if not is_sqlite:  # blocks no other statement, and waits for every open transaction
            op.execute("SET lock_timeout = 0")
        for name, (column, rows) in INDEXES.items():
            op.create_index(
                name,
                "sync_cursors",
                [column],
                sqlite_where=rows,
                postgresql_where=rows,
                postgresql_concurrently=True,
            )
        if not is_sqlite:
            op.execute("RESET lock_timeout")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "sync_cursors")
