"""Find the last renewal by index, connects aside."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_renewed_last"
down_revision = "20261123_first_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    renewed = sa.text("parent_generation IS NOT NULL")
    op.create_index(
        "ix_connections_renewed",
        "connections",
        ["refreshed_at"],
        sqlite_where=renewed,
        postgresql_where=renewed,
    )


def downgrade() -> None:
    op.drop_index("ix_connections_renewed", "connections")
