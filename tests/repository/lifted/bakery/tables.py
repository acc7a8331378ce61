"""The tables of the bakery."""

from uuid import UUID, uuid4

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """The base of every table."""


db = SQLAlchemy(model_class=Table)


class Baker(Table):
    """Who bakes."""

    __tablename__ = "bakers"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str] = mapped_column(String(80), unique=True)
