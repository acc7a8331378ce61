"""Find the refresh that failed for longest by an index."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_overdue_index"
down_revision = "20261125_renewed_last"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_connections_overdue",
        "connections",
        ["status", "renew_at"],
        sqlite_where=sa.text("failures > 0"),
        postgresql_where=sa.text("failures > 0"),
    )


def downgrade() -> None:
    op.drop_index("ix_connections_overdue", "connections")
