"""Client for Katana's API: requests, pagination, rate limit, one retry after a 401.

Sources: developer.katanamrp.com/reference (api-authentication, api-rate-limiting, api-pagination,
api-errors). If those pages are not precise, each form is accepted: both error formats, numbers as
strings, lists as an array or in `data`.
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
PAGE_SIZE = 250  # Katana's maximum; it reduces a larger one without an error
BUSY_SECONDS = 60.0  # after a 429 without `Retry-After`: the length of Katana's window

logger = logging.getLogger(__name__)

Record = TypeVar("Record")
Query = Mapping[str, int | str | Sequence[int]]


class AccessToken(Protocol):
    """Returns a valid access token. `refused` is a token that Katana has just refused by a 401."""

    def __call__(self, refused: str | None = None) -> str: ...


def new_session() -> Session:
    """An HTTP session for Katana's API, with a pool that all threads of a process share."""
    session = Session()
    harden(session, body_bytes=RESPONSE_BYTES)
    return session


class Meter(Protocol):
    """Keeps requests within Katana's rate limit."""

    def before(self) -> None:
        """Called before each request. Raises ApiBusy if none may be sent now."""

    def after(self, allowance: Allowance) -> None:
        """Called with the rate limit of each response."""


class Unmetered:
    """Does not limit requests."""

    def before(self) -> None:
        pass

    def after(self, allowance: Allowance) -> None:
        pass


@dataclass(frozen=True)
class Page:
    """One page of a list. The records are not validated: each may be any JSON value."""

    records: Sequence[Any]
    #: Records in the whole list.
    total: int
    pages: int
    #: The `Date` of the response; None if it has none.
    at: datetime | None


UNMETERED = Unmetered()


class KatanaApi:
    """Katana's API for one connection.

    Every method raises ApiUnauthorized, ApiForbidden, ApiBusy, ApiRefused or ApiUnavailable, the
    errors of `access_token`, and KatanaSaturated if `bulkhead` has no free slot. After `until`, a
    time on the monotonic clock, no more requests are sent (ApiUnavailable). This limits slow
    responses and lists with very many pages.
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
        """The stock of these variants, one record for each location."""
        rows = self.records("/inventory", variant_id=variant_ids) if variant_ids else ()
        return _read_all(Stock.read, rows)

    def records(self, path: str, **query: int | str | Sequence[int]) -> Iterator[Mapping[str, Any]]:
        """The records of a list. Each page is requested when it is needed."""
        page, pages = 1, 1
        while page <= pages:
            response = self.request("GET", path, query={"limit": PAGE_SIZE, **query, "page": page})
            records = _records(response)
            yield from records
            # An empty page is the last one, even if `total_pages` is higher.
            page, pages = page + 1, _pages(response) if records else 0

    def page(self, path: str, **query: int | str | Sequence[int]) -> Page:
        """One page of a list: `page` counts from 1, `limit` is at most PAGE_SIZE.

        Raises ApiUnavailable also if the page is full and the response has no pagination.
        """
        limit = query.get("limit", PAGE_SIZE)
        response = self.request("GET", path, query={**query, "limit": limit})
        records = _list(response)
        pagination = _pagination(response)
        if pagination is None and isinstance(limit, int) and len(records) >= limit:
            raise ApiUnavailable(f"GET {path}: the response does not say how many pages there are")

        total, pages = pagination or (len(records), 1)
        at = retry_after.date(response.headers.get("Date", ""))
        return Page(records, total, pages, at)

    def request(
        self, method: str, path: str, *, query: Query | None = None, body: Any = None
    ) -> Response:
        """Send one request and return its response, which has a 2xx status.

        After a 401 the request is sent once more with a refreshed token. This is safe for a POST
        too, because Katana has not processed the first one. A GET is sent once more if the
        kept-alive connection turns out to be closed. No other request is sent twice.
        """
        token = self._access_token()
        response = self._send(method, path, token, query, body)
        if response.status_code == 401:
            response = self._send(method, path, self._access_token(refused=token), query, body)
        if not 200 <= response.status_code < 300:  # `response.ok` is true for a redirect
            raise _failure(method, path, response)

        return response

    def _send(self, method: str, path: str, token: str, query: Query | None, body: Any) -> Response:
        if not (token.isascii() and token.isprintable()):
            # It could inject a header, or appear in the text of an error.
            raise ApiUnauthorized(f"{method} {path}: the stored access token cannot be sent")

        with self._bulkhead.slot():
            return self._send_now(method, path, token, query, body)

    def _send_now(
        self, method: str, path: str, token: str, query: Query | None, body: Any
    ) -> Response:
        left = self._until - monotonic()
        if left <= 0:
            raise ApiUnavailable(f"{method} {path}: the time limit has passed")

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
            response = _send_twice_if_stale(send) if method == "GET" else send()
        except (NeverSent, NoAnswer) as error:
            raise ApiUnavailable(f"{method} {path}: {type(error).__name__}") from None
        self._meter.after(rate_limit.read(response))
        return response


def created_id(response: Response) -> int | None:
    """The id of a created record; None if the response has none, although the record exists."""
    try:
        record = _json(response, integer)
        return number(record, "id") if isinstance(record, dict) else None
    except (ApiUnavailable, Unreadable):
        return None


def _send_twice_if_stale(send: Callable[[], Response]) -> Response:
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
    """The `name` of Katana's error (in `error` or at the top level); empty if not an identifier."""
    try:
        error = _json(response)
    except ApiUnavailable:
        return ""
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    name = error.get("name") if isinstance(error, dict) else None
    return name if isinstance(name, str) and name.isidentifier() and len(name) < 60 else ""


def _pause(response: Response) -> float:
    requested = retry_after.seconds(response)
    return BUSY_SECONDS if requested is None else requested


def _pages(response: Response) -> int:
    # The numbers may be strings: convert them before they are compared.
    try:
        return int(json.loads(response.headers.get("X-Pagination", "{}")).get("total_pages", 1))
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return 1


def _pagination(response: Response) -> tuple[int, int] | None:
    """The total numbers of records and pages; None if the response has none."""
    try:
        stated = json.loads(response.headers["X-Pagination"])
        total, pages = int(stated["total_records"]), int(stated["total_pages"])
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return (total, pages) if total >= 0 and pages >= 0 else None


def _records(response: Response) -> Sequence[Mapping[str, Any]]:
    # Anything other than an object becomes a record without an id, which is left out later.
    return [record if isinstance(record, dict) else {} for record in _list(response)]


def _list(response: Response) -> Sequence[Any]:
    body = _json(response, integer)
    records = body.get("data") if isinstance(body, dict) else body
    if not isinstance(records, list):
        raise ApiUnavailable("Katana's response is not a list of records")

    return records


def _record(response: Response) -> Mapping[str, Any]:
    body = _json(response)
    if not isinstance(body, dict):
        raise ApiUnavailable("Katana's response is not a record")

    return body


def _read_all(
    read: Callable[[Mapping[str, Any]], Record], records: Iterable[Mapping[str, Any]]
) -> tuple[Record, ...]:
    """The valid records. Invalid ones are left out, and their number is logged.

    Raises ApiUnavailable if there are records and none is valid.
    """
    found, invalid = [], 0
    for record in records:
        try:
            found.append(_read(read, record))
        except ApiUnavailable:
            invalid += 1
    if invalid and not found:
        raise ApiUnavailable("Katana's API sent only invalid records")

    if invalid:
        logger.warning("%s invalid records of Katana's API are left out", invalid)
    return tuple(found)


def _read(read: Callable[[Mapping[str, Any]], Record], record: Mapping[str, Any]) -> Record:
    try:
        return read(record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ApiUnavailable("Katana's response has a record without a required field") from None


def integer(text: str) -> int | float:
    """Parse an integer; infinity if it is too long, for which `int()` would raise."""
    return int(text) if len(text) <= DIGITS else inf


def _json(response: Response, parse_int: Callable[[str], int | float] | None = None) -> Any:
    try:
        return json.loads(response.content, parse_int=parse_int)
    except (ValueError, RecursionError):
        raise ApiUnavailable("Katana's response is not JSON") from None
