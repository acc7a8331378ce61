"""The interface to the application around the core: database session, users, browser sessions.

To use the core in another application, rewrite this file and no other: docs/into-your-app.md.
"""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import MappedColumn, mapped_column

from app.accounts.models import User
from app.database.db import Model as Model
from app.database.db import db as db

#: The type of a user's primary key.
UserId = int
#: The type of the id of a browser session. A connect must end in the session in which it began.
BrowserId = int
#: The primary key column of the users.
user_key = User.id
#: A unique column of the users. Lists for operators show it and are sorted by it.
user_name = User.email


def user_column(*, unique: bool = False) -> MappedColumn[UserId]:
    """A foreign key to a user; the row is deleted with the user."""
    return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=unique)


def browser_column() -> MappedColumn[BrowserId]:
    """A foreign key to a browser session; the row is deleted when the user signs out."""
    return mapped_column(ForeignKey("user_sessions.id", ondelete="CASCADE"), index=True)


def user_id_from(stored: object) -> UserId:
    """The key of a user, read from JSON. Raises ValueError for any other value."""
    if type(stored) is not int or not 0 <= stored < 2**31:
        raise ValueError("not the key of a user")

    return stored


def user_id_for_json(user_id: UserId) -> int | str:
    """The key of a user, for JSON."""
    return user_id
