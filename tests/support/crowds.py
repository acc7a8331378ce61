"""Many connections with tokens that Katana does not know."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from flask import Flask
from sqlalchemy import insert

from app.accounts.models import User
from app.connections import sealed_grant
from app.connections.models import Connection, Status
from app.connections.vault import Vault
from app.database.db import db

LONG_AGO = timedelta(days=30)


def crowd(app: Flask, vault: Vault, number: int) -> list[UUID]:
    """Store `number` connections, refreshed a month ago, one second apart; their ids."""
    now = datetime.now(UTC)
    users = [
        {"id": n, "email": f"maker{n:06}@workshop.example", "password_hash": "", "created_at": now}
        for n in range(1000, 1000 + number)
    ]
    rows = [
        _row(vault, user["id"], now - LONG_AGO + timedelta(seconds=user["id"])) for user in users
    ]
    with app.app_context():
        db.session.execute(insert(User), users)
        db.session.execute(insert(Connection), rows)
        db.session.commit()
    return [row["id"] for row in rows]


def _row(vault: Vault, user_id: int, refreshed_at: datetime) -> dict[str, object]:
    connection_id = uuid4()
    return {
        "id": connection_id,
        "user_id": user_id,
        "status": Status.ACTIVE,
        "connected_by": "",
        "connected_at": refreshed_at,
        "sealed_access_token": vault.seal(
            "unknown", sealed_grant.access_token_aad(connection_id, user_id)
        ),
        "sealed_refresh_token": vault.seal(
            "unknown", sealed_grant.refresh_token_aad(connection_id, user_id)
        ),
        "expires_at": refreshed_at,
        "renew_at": refreshed_at,
        "refreshed_at": refreshed_at,
        "generation": 1,
    }
