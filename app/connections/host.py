"""What the core takes from the application around it: its session, its users, its browsers.

To lift the core into another application, write this file anew and change no other file:
docs/into-your-app.md shows how.
"""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import MappedColumn, mapped_column

from app.accounts.models import User
from app.database.db import Model as Model
from app.database.db import db as db

#: The type of a user's primary key.
UserId = int
#: The type of what stands for one signed-in browser: a connect ends in the browser that began it.
BrowserId = int
#: The primary key of the users.
user_key = User.id
#: A unique column of the users, by which a list for operators names and sorts them.
user_name = User.email


def user_column(*, unique: bool = False) -> MappedColumn[UserId]:
    """A column that refers to a user; the database deletes the row with the user."""
    return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=unique)


def browser_column() -> MappedColumn[BrowserId]:
    """A column that refers to a browser; the row goes when the user signs out there."""
    return mapped_column(ForeignKey("user_sessions.id", ondelete="CASCADE"), index=True)


def user_id_from(stored: object) -> UserId:
    """The key of a user as JSON holds it; raises ValueError for any other value."""
    if type(stored) is not int or not 0 <= stored < 2**31:
        raise ValueError("not the key of a user")

    return stored


def user_id_for_json(user_id: UserId) -> int | str:
    """The key of a user, as JSON can hold it."""
    return user_id
