"""Store each e-mail address in one spelling: composed letters, a domain in its own letters.

Two accounts whose addresses are one and the same in this spelling are not merged: each may be
connected to a Katana of its own. The migration names them and changes nothing.
"""

import unicodedata
from collections import defaultdict

import idna
import sqlalchemy as sa
from alembic import op
from email_validator import EmailNotValidError, validate_email

revision = "20261127_one_spelling"
down_revision = "20261127_sync_tables"
branch_labels = None
depends_on = None

users = sa.table("users", sa.column("id", sa.Integer), sa.column("email", sa.String))


def upgrade() -> None:
    rows = op.get_bind().execute(sa.select(users.c.id, users.c.email).order_by(users.c.id)).all()
    whose = defaultdict(list)
    for user_id, email in rows:
        whose[_normal(email)].append(user_id)
    _refuse_collisions([ids for ids in whose.values() if len(ids) > 1])
    for user_id, email in rows:
        if email != (normal := _normal(email)):
            op.execute(sa.update(users).where(users.c.id == user_id).values(email=normal))


def downgrade() -> None:
    """The earlier spellings are not known any more; the version before takes these."""


def _refuse_collisions(collisions: list[list[int]]) -> None:
    if collisions:
        named = "; ".join(" and ".join(map(str, ids)) for ids in collisions)
        raise RuntimeError(
            "These users have one e-mail address in several spellings. In the table users, give "
            f"all but one another address, or delete them; then migrate again. By id: {named}"
        )


def _normal(email: str) -> str:
    # As the app spelled it when this migration was written.
    address = email.strip()
    try:
        address = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
        try:
            domain = idna.decode(domain, uts46=True)
        except (idna.IDNAError, UnicodeError):
            domain = domain.lower()
        address = f"{local}{at}{domain}"
    return unicodedata.normalize("NFC", address.lower())
