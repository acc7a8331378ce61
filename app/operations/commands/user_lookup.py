"""Finds the user that a command is about, by e-mail address, number or connection id."""

from dataclasses import dataclass
from uuid import UUID

import click
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.accounts.email_address import normal_email
from app.accounts.models import User
from app.connections.models import Connection
from app.database.db import db

NUMBER_DIGITS = 9  # an integer column can store any number of so many digits


@dataclass(frozen=True)
class Person:
    """A user, and their connection if they have one."""

    user: User
    connection: Connection | None

    def connected(self) -> Connection:
        """Their connection. Raises a ClickException if they have none."""
        if self.connection is None:
            raise click.ClickException("This user is not connected to Katana.")

        return self.connection


def find(who: str) -> Person:
    """The user with this e-mail address, this number, or the connection with this id.

    Raises a ClickException if no user matches, and BadParameter if `who` has none of these forms.
    """
    found = (
        select(User, Connection)
        .outerjoin(Connection, Connection.user_id == User.id)
        .where(_named(who.strip()))
    )
    # A separate session, closed at once: no transaction stays open during a request to Katana.
    with Session(db.engine) as session:
        row = session.execute(found).one_or_none()
    if row is None:
        raise click.ClickException("There is no such user or connection here.")

    return Person(*row)


def _named(who: str) -> ColumnElement[bool]:
    if "@" in who and _is_text(who):
        return User.email == normal_email(who)
    if who.isascii() and who.isdigit() and len(who) <= NUMBER_DIGITS:
        return User.id == int(who)
    try:
        return Connection.id == UUID(who)
    except ValueError:
        raise click.BadParameter(
            "give an e-mail address, the number of a user, or the id of a connection."
        ) from None


def _is_text(who: str) -> bool:
    """Whether a database accepts it: Python decodes arguments that are not UTF-8 to surrogates."""
    try:
        who.encode()
    except UnicodeEncodeError:
        return False
    return True
