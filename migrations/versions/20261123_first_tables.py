"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "20261123_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_rate_limits"),
    )
    op.create_index("ix_rate_limits_expires_at", "rate_limits", ["expires_at"])

    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "connection_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("connection_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "connected",
                "refreshed",
                "refresh_failed",
                "reconnect_needed",
                "disconnected",
                name="eventkind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("detail", sa.String(length=100), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_connection_events_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_connection_events"),
    )
    op.create_index("ix_connection_events_history", "connection_events", ["user_id", "id"])

    op.create_table(
        "connections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active",
                "reconnect_needed",
                name="status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Enum(
                "grant_ended",
                "answer_lost",
                name="reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("factory_name", sa.String(length=200), nullable=True),
        sa.Column("connected_by", sa.String(length=64), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed_access_token", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_refresh_token", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(length=500), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renew_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("parent_generation", sa.Integer(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("written_fence", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=32), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("doubtful_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(status = 'active') = (reason IS NULL)", name=op.f("ck_connections_reason_when_needed")
        ),
        sa.CheckConstraint(
            "(lease_owner IS NULL) = (lease_until IS NULL)", name=op.f("ck_connections_lease_whole")
        ),
        sa.CheckConstraint("generation > 0", name=op.f("ck_connections_generation_counts")),
        sa.CheckConstraint(
            "parent_generation < generation", name=op.f("ck_connections_generation_grows")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_connections_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.UniqueConstraint("user_id", name="uq_connections_user_id"),
    )
    op.create_index("ix_connections_keep_alive", "connections", ["status", "refreshed_at", "id"])
    op.create_index("ix_connections_refreshed_at", "connections", ["refreshed_at"])
    op.create_index("ix_connections_refused_at", "connections", ["refused_at"])

    op.create_table(
        "user_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_user_sessions_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_user_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_user_sessions_token_hash"),
    )
    op.create_index("ix_user_sessions_expires_at", "user_sessions", ["expires_at"])
    op.create_index("ix_user_sessions_user_id", "user_sessions", ["user_id"])

    op.create_table(
        "connect_attempts",
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("user_session_id", sa.Integer(), nullable=False),
        sa.Column("sealed_verifier", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_session_id"],
            ["user_sessions.id"],
            name="fk_connect_attempts_user_session_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("state_hash", name="pk_connect_attempts"),
    )
    op.create_index("ix_connect_attempts_expires_at", "connect_attempts", ["expires_at"])
    op.create_index("ix_connect_attempts_user_session_id", "connect_attempts", ["user_session_id"])


def downgrade() -> None:
    op.drop_index("ix_connect_attempts_user_session_id", "connect_attempts")
    op.drop_index("ix_connect_attempts_expires_at", "connect_attempts")

    op.drop_table("connect_attempts")
    op.drop_index("ix_user_sessions_user_id", "user_sessions")
    op.drop_index("ix_user_sessions_expires_at", "user_sessions")

    op.drop_table("user_sessions")
    op.drop_index("ix_connections_refused_at", "connections")
    op.drop_index("ix_connections_refreshed_at", "connections")
    op.drop_index("ix_connections_keep_alive", "connections")

    op.drop_table("connections")
    op.drop_index("ix_connection_events_history", "connection_events")

    op.drop_table("connection_events")
    op.drop_table("users")
    op.drop_index("ix_rate_limits_expires_at", "rate_limits")

    op.drop_table("rate_limits")
