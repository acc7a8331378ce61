"""Posts deliveries to their webhooks in threads of its own, and retries as Katana does.

A 2xx response in time acknowledges a delivery. Otherwise it is posted again after each of the waits
in the rules, and has failed after the last. Threads run only while there is something to send.
"""

import heapq
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from threading import Condition, Thread

import requests

from sandbox.clock import Clock, iso
from sandbox.deliveries import Attempt, Deliveries, Delivery
from sandbox.switches import Rules
from sandbox.webhook_rules import is_loopback
from sandbox.webhooks import Webhook, Webhooks

_MOST_THREADS = 8
_LOOK_SECONDS = 0.05  # how often the clock is read, because a test may change it
_IDLE_SECONDS = 1.0


@dataclass(order=True)
class _Job:
    due: datetime
    order: int
    delivery: Delivery = field(compare=False)
    waits_for_next: bool = field(compare=False, default=False)


class Sender:
    """The deliveries to post, soonest first."""

    def __init__(
        self,
        clock: Clock,
        rules: Callable[[], Rules],
        webhooks: Webhooks,
        log: Deliveries,
        authority: str | None = None,
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._webhooks = webhooks
        self._log = log
        self._authority = authority
        self._wake = Condition()
        self._jobs: list[_Job] = []
        self._order = 0
        self._threads = 0
        self._is_watched = False
        self._is_closed = False

    def send(self, delivery: Delivery, *, late: float = 0, after_next: bool = False) -> None:
        """Post a delivery after so many seconds, or right after the next one to its webhook."""
        self._push(delivery, self._clock.now() + timedelta(seconds=late), after_next)

    def hurry(self) -> int:
        """Make all waiting deliveries due now; return their number."""
        with self._wake:
            for job in self._jobs:
                job.due = self._clock.now()
            heapq.heapify(self._jobs)
            self._wake.notify()
            return len(self._jobs)

    def close(self) -> None:
        """Drop all waiting deliveries; one that is being posted is not stopped."""
        with self._wake:
            self._is_closed = True
            self._jobs.clear()
            self._wake.notify_all()

    def _push(self, delivery: Delivery, due: datetime, after_next: bool = False) -> None:
        with self._wake:
            if self._is_closed:
                return
            self._order += 1
            heapq.heappush(self._jobs, _Job(due, self._order, delivery, after_next))
            if self._is_watched:
                self._wake.notify()
            else:
                self._start()

    def _start(self) -> None:
        """Start one more thread, unless there are enough; the lock is held."""
        if self._threads < _MOST_THREADS:
            self._threads += 1
            Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with requests.Session() as http:
            http.trust_env = False  # no proxy, no netrc: deliveries stay on this machine
            if self._authority:
                http.verify = self._authority
            while (job := self._next()) is not None:
                self._post(http, job.delivery)
                self._release(job.delivery.webhook)

    def _next(self) -> _Job | None:
        """Return the next due job; one thread at a time waits for it. None ends the thread."""
        was_idle = False
        with self._wake:
            while not self._is_closed:
                if self._jobs and self._jobs[0].due <= self._clock.now():
                    job = heapq.heappop(self._jobs)
                    if self._jobs and not self._is_watched:
                        self._start()
                    return job
                if self._is_watched or was_idle:
                    break
                self._is_watched = True
                self._wake.wait(_LOOK_SECONDS if self._jobs else _IDLE_SECONDS)
                self._is_watched = False
                was_idle = not self._jobs
            self._threads -= 1
            return None

    def _release(self, webhook: int) -> None:
        """Make the jobs due that wait for the delivery that has just been posted."""
        with self._wake:
            for job in self._jobs:
                if job.waits_for_next and job.delivery.webhook == webhook:
                    job.due = self._clock.now()
            heapq.heapify(self._jobs)

    def _post(self, http: requests.Session, delivery: Delivery) -> None:
        """Make one attempt, and schedule the next if it was not acknowledged."""
        try:
            webhook = self._webhooks.find(delivery.webhook)
        except LookupError:
            self._log.attempted(delivery, None, "dropped")
            return
        if not webhook.enabled:
            self._log.attempted(delivery, None, "dropped")
            return

        attempt = self._attempt(http, delivery, webhook)
        if attempt.status is not None and 200 <= attempt.status < 300:
            self._log.attempted(delivery, attempt, "delivered")
            return
        waits = self._rules().webhook_retry_seconds
        if len(delivery.attempts) >= len(waits):
            self._log.attempted(delivery, attempt, "failed")
            return
        due = self._clock.now() + timedelta(seconds=waits[len(delivery.attempts)])
        self._push(self._log.attempted(delivery, attempt, "waiting", due), due)

    def _attempt(self, http: requests.Session, delivery: Delivery, webhook: Webhook) -> Attempt:
        at = iso(self._clock.now())
        if not is_loopback(webhook.url):
            return Attempt(at, None, "not sent: the sandbox posts to this machine only")
        timeout = self._rules().webhook_timeout_seconds
        try:
            answer = http.post(
                webhook.url,
                data=delivery.body,
                headers=_headers(delivery, webhook.token),
                timeout=timeout,
                allow_redirects=False,
            )
        except requests.Timeout:
            return Attempt(at, None, f"no answer within {timeout:g} s")
        except requests.RequestException:
            return Attempt(at, None, "no connection")
        return Attempt(at, answer.status_code)


def _headers(delivery: Delivery, token: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "Katana sandbox"}
    retry = len(delivery.attempts)
    if retry:
        headers["X-Katana-Retry-Num"] = str(retry)
    signature = delivery.signature if not retry else "right"
    if signature != "none":
        key = token if signature == "right" else token[::-1] + "0"
        digest = hmac.new(key.encode(), delivery.body, sha256).hexdigest()
        headers["x-sha2-signature"] = digest
    return headers
