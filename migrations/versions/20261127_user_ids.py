"""Give no number of a user twice, also on SQLite, now that users can be deleted.

A request that began for a deleted user would else end as one of the next user. PostgreSQL's
sequences never go back.
"""

from alembic import op

revision = "20261127_user_ids"
down_revision = "20261127_one_spelling"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _rebuild_on_sqlite(autoincrement=True)


def downgrade() -> None:
    _rebuild_on_sqlite(autoincrement=False)


def _rebuild_on_sqlite(*, autoincrement: bool) -> None:
    if op.get_bind().dialect.name == "sqlite":
        options = {"sqlite_autoincrement": autoincrement}
        with op.batch_alter_table("users", recreate="always", table_kwargs=options):
            pass
