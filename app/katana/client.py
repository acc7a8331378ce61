"""Katana's API: one way to send a request, pages, limits, one retry after a 401.

Sources: developer.katanamrp.com/reference (api-authentication, api-rate-limiting, api-pagination,
api-errors). What those pages leave open is read tolerantly: both error shapes, numbers as text,
lists bare or in `data`.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from math import inf
from typing import Any, Protocol, TypeVar

from requests import Response, Session

from app.database.clock import monotonic
from app.errors import ApiBusy, ApiForbidden, ApiRefused, ApiUnauthorized, ApiUnavailable
from app.katana import rate_limit, retry_after
from app.katana.bulkheads import UNLIMITED, Bulkhead
from app.katana.fields import Unreadable, number
from app.katana.rate_limit import Allowance
from app.katana.records import DIGITS, Customer, Factory, Product, SalesOrder, Stock
from app.katana.transport import NeverSent, NoAnswer, Stale, harden

RESPONSE_SECONDS = 10.0
RESPONSE_BYTES = 8 * 1024 * 1024
PAGE_SIZE = 250  # Katana silently cuts a larger one to this
BUSY_SECONDS = 60.0  # the length of Katana's window, where it does not say how long to wait

logger = logging.getLogger(__name__)

Record = TypeVar("Record")
Query = Mapping[str, int | str | Sequence[int]]


class AccessToken(Protocol):
    """Gives a good access token; `refused` is the one that Katana has just answered 401 to."""

    def __call__(self, refused: str | None = None) -> str: ...


def new_session() -> Session:
    """A pool of connections to Katana's API, to be shared by all threads of a process."""
    session = Session()
    harden(session, body_bytes=RESPONSE_BYTES)
    return session


class Meter(Protocol):
    """Keeps requests within Katana's rate limit."""

    def before(self) -> None:
        """Called before each request. Raises ApiBusy where none may be sent now."""

    def after(self, allowance: Allowance) -> None:
        """Called with what the answer said."""


class Unmetered:
    """Sends whatever is asked for."""

    def before(self) -> None:
        pass

    def after(self, allowance: Allowance) -> None:
        pass


@dataclass(frozen=True)
class Page:
    """One page of a list. `records` are as they came: each may be anything."""

    records: Sequence[Any]
    #: Of the whole list, in all its pages.
    total: int
    pages: int
    #: When Katana answered, by its own clock; None where it did not say.
    at: datetime | None


UNMETERED = Unmetered()


class KatanaApi:
    """Katana's API for one connection.

    Every method raises ApiUnauthorized, ApiForbidden, ApiBusy, ApiRefused or ApiUnavailable, what
    `access_token` raises, and KatanaSaturated where `bulkhead` has no place. After `until`, a
    moment of the monotonic clock, Katana is asked nothing more (ApiUnavailable): an answer may come
    slowly, and announce pages without end.
    """

    def __init__(
        self,
        base_url: str,
        session: Session,
        access_token: AccessToken,
        until: float = inf,
        meter: Meter = UNMETERED,
        bulkhead: Bulkhead = UNLIMITED.api,
    ) -> None:
        self._base_url = base_url
        self._session = session
        self._access_token = access_token
        self._until = until
        self._meter = meter
        self._bulkhead = bulkhead

    def factory(self) -> Factory:
        """The connected account."""
        return _read(Factory.read, _record(self.request("GET", "/factory")))

    def sales_orders(self, limit: int) -> tuple[SalesOrder, ...]:
        """The latest sales orders, newest first, at most `limit`."""
        return _read_all(SalesOrder.read, islice(self.records("/sales_orders", limit=limit), limit))

    def customers(self, ids: Sequence[int]) -> tuple[Customer, ...]:
        """The customers with these ids."""
        customers = self.records("/customers", ids=ids) if ids else ()
        return _read_all(Customer.read, customers)

    def products(self, limit: int) -> tuple[Product, ...]:
        """The latest products, newest first, at most `limit`."""
        return _read_all(Product.read, islice(self.records("/products", limit=limit), limit))

    def stock(self, variant_ids: Sequence[int]) -> tuple[Stock, ...]:
        """How much there is of these variants, a row for each location."""
        rows = self.records("/inventory", variant_id=variant_ids) if variant_ids else ()
        return _read_all(Stock.read, rows)

    def records(self, path: str, **query: int | str | Sequence[int]) -> Iterator[Mapping[str, Any]]:
        """The records of a list, page after page, each page asked for when it is needed."""
        page, pages = 1, 1
        while page <= pages:
            response = self.request("GET", path, query={"limit": PAGE_SIZE, **query, "page": page})
            records = _records(response)
            yield from records
            # An empty page is the last, however many are announced.
            page, pages = page + 1, _pages(response) if records else 0

    def page(self, path: str, **query: int | str | Sequence[int]) -> Page:
        """One page of a list: `page` counts from 1, `limit` is at most PAGE_SIZE.

        Raises ApiUnavailable as well where a full page does not say how many there are.
        """
        limit = query.get("limit", PAGE_SIZE)
        response = self.request("GET", path, query={**query, "limit": limit})
        records = _list(response)
        said = _pagination(response)
        if said is None and isinstance(limit, int) and len(records) >= limit:
            raise ApiUnavailable(f"GET {path}: Katana does not say how many pages there are")

        total, pages = said or (len(records), 1)
        at = retry_after.date(response.headers.get("Date", ""))
        return Page(records, total, pages, at)

    def request(
        self, method: str, path: str, *, query: Query | None = None, body: Any = None
    ) -> Response:
        """Katana's answer to one request, a good one.

        After a 401 it is sent once more, with a token renewed: a refused request has done nothing,
        so that is safe for a POST too. A GET is sent once more where the connection, kept from an
        earlier request, turns out to be closed. Nothing else is ever sent twice.
        """
        token = self._access_token()
        response = self._send(method, path, token, query, body)
        if response.status_code == 401:
            response = self._send(method, path, self._access_token(refused=token), query, body)
        if not 200 <= response.status_code < 300:  # `response.ok` takes a redirect for a success
            raise _failure(method, path, response)

        return response

    def _send(self, method: str, path: str, token: str, query: Query | None, body: Any) -> Response:
        if not (token.isascii() and token.isprintable()):
            # It would break out of its header, or stand in the error that stops it.
            raise ApiUnauthorized(f"{method} {path}: the stored access token cannot be sent")

        with self._bulkhead.slot():
            return self._send_now(method, path, token, query, body)

    def _send_now(
        self, method: str, path: str, token: str, query: Query | None, body: Any
    ) -> Response:
        left = self._until - monotonic()
        if left <= 0:
            raise ApiUnavailable(f"{method} {path}: no time is left")

        send = partial(
            self._session.request,
            method,
            self._base_url + path,
            params=query,
            json=body,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=min(left, RESPONSE_SECONDS),
            allow_redirects=False,
        )
        self._meter.before()
        try:
            response = _sent_again_if_stale(send) if method == "GET" else send()
        except (NeverSent, NoAnswer) as error:
            raise ApiUnavailable(f"{method} {path}: {type(error).__name__}") from None
        self._meter.after(rate_limit.read(response))
        return response


def created_id(response: Response) -> int | None:
    """The id of what was just created; None where the answer does not say, and it is there."""
    try:
        record = _json(response, integer)
        return number(record, "id") if isinstance(record, dict) else None
    except (ApiUnavailable, Unreadable):
        return None


def _sent_again_if_stale(send: Callable[[], Response]) -> Response:
    try:
        return send()
    except Stale:
        return send()


def _failure(method: str, path: str, response: Response) -> Exception:
    status = response.status_code
    text = f"{method} {path}: Katana answered {status} {_error_name(response)}".rstrip()
    match status:
        case 401:
            return ApiUnauthorized(text)
        case 403:
            return ApiForbidden(text)
        case 429:
            return ApiBusy(text, _pause(response))
        case _ if 400 <= status < 500:
            return ApiRefused(text, status)
    return ApiUnavailable(text)


def _error_name(response: Response) -> str:
    """The `name` of Katana's error, whether wrapped in `error` or flat: a word, or nothing."""
    try:
        error = _json(response)
    except ApiUnavailable:
        return ""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    name = error.get("name") if isinstance(error, dict) else None
    return name if isinstance(name, str) and name.isidentifier() and len(name) < 60 else ""


def _pause(response: Response) -> float:
    asked = retry_after.seconds(response)
    return BUSY_SECONDS if asked is None else asked


def _pages(response: Response) -> int:
    # Its numbers have been seen as text: "10" is more than "9".
    try:
        return int(json.loads(response.headers.get("X-Pagination", "{}")).get("total_pages", 1))
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return 1


def _pagination(response: Response) -> tuple[int, int] | None:
    """How many records and pages the list has; None where the answer does not say."""
    try:
        said = json.loads(response.headers["X-Pagination"])
        total, pages = int(said["total_records"]), int(said["total_pages"])
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return (total, pages) if total >= 0 and pages >= 0 else None


def _records(response: Response) -> Sequence[Mapping[str, Any]]:
    # What is no record is read as one without an id, and left out like it.
    return [record if isinstance(record, dict) else {} for record in _list(response)]


def _list(response: Response) -> Sequence[Any]:
    body = _json(response, integer)
    records = body.get("data") if isinstance(body, dict) else body
    if not isinstance(records, list):
        raise ApiUnavailable("Katana answered with something that is no list of records")

    return records


def _record(response: Response) -> Mapping[str, Any]:
    body = _json(response)
    if not isinstance(body, dict):
        raise ApiUnavailable("Katana answered with something that is no record")

    return body


def _read_all(
    read: Callable[[Mapping[str, Any]], Record], records: Iterable[Mapping[str, Any]]
) -> tuple[Record, ...]:
    """The records that can be read; one that cannot is logged and left out.

    Raises ApiUnavailable if there are records and none can be read.
    """
    found, unread = [], 0
    for record in records:
        try:
            found.append(_read(read, record))
        except ApiUnavailable:
            unread += 1
    if unread and not found:
        raise ApiUnavailable("Katana's API sent records, and none could be read")

    if unread:
        logger.warning("%s records of Katana's API could not be read and are left out", unread)
    return tuple(found)


def _read(read: Callable[[Mapping[str, Any]], Record], record: Mapping[str, Any]) -> Record:
    try:
        return read(record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ApiUnavailable("Katana answered with a record that lacks what it must have") from None


def integer(text: str) -> int | float:
    """Python refuses to read an integer of thousands of digits, and with it the whole answer."""
    return int(text) if len(text) <= DIGITS else inf


def _json(response: Response, parse_int: Callable[[str], int | float] | None = None) -> Any:
    try:
        return json.loads(response.content, parse_int=parse_int)
    except (ValueError, RecursionError):
        raise ApiUnavailable("Katana answered with something that is no JSON") from None
