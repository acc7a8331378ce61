"""Token families: rotation at each refresh, and the end of a family when a token is reused.

A family is all tokens of one consent; the app calls it a grant. Its refresh tokens have
generations. A refresh spends all tokens of the newest generation and creates the next one. With a
rotation overlap (grace period), a token of the previous generation can be exchanged again for a
while. This adds one more token to the newest generation. Any older token that is sent again counts
as reuse.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

from sandbox.switches import Rules
from sandbox.tokens import AccessToken, Family, Grant, RefreshToken, UnknownRefreshToken, digest

#: The reasons for the end of a family, as text.
ENDINGS = {
    "reuse": "killed, since a spent token was used again",
    "revoked": "revoked by the app",
    "ended": "revoked here",
}


class Families:
    """Every family since the sandbox started, behind one lock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.lock = Lock()
        self.all: list[Family] = []
        self._refresh: dict[str, tuple[Family, RefreshToken]] = {}
        self._access: dict[str, tuple[Family, AccessToken]] = {}

    def open(self, factory: str, rules: Rules) -> Grant:
        """Return the first tokens of a new family that may read this factory."""
        with self.lock:
            family = Family(len(self.all) + 1, factory)
            self.all.append(family)
            return self._issue(family, 1, rules, "family opened")

    def rotate(self, token: str, rules: Rules) -> Grant:
        """Return new tokens for a refresh token, and spend it.

        :raise UnknownRefreshToken: it is unknown, its family has ended, or it was spent. The last
            is reuse, which ends the family and its access tokens.
        """
        with self.lock:
            family, link = self._presented(token)
            if link.spent_at is None:
                return self._issue(family, link.generation + 1, rules, "rotated")
            if self._in_overlap(family, link, rules.rotation_overlap_seconds):
                return self._issue(family, link.generation + 1, rules, "rotated again, in overlap")

            self._end(family, "reuse")
            raise UnknownRefreshToken(family.id, "spent token used again: family killed")

    def revoke(self, token: str) -> int | None:
        """End the family of this refresh token; return its id, or None for an unknown token."""
        with self.lock:
            known = self._refresh.get(digest(token))
            if known is None:
                return None
            self._end(known[0], "revoked")
            return known[0].id

    def bearer(self, token: str) -> tuple[Family | None, bool]:
        """Return the family of an access token, and whether the token is valid now."""
        with self.lock:
            family, access = self._access.get(digest(token), (None, None))
            return family, access is not None and self.is_live(access)

    def expire(self, family: int | None) -> int:
        """Make the access tokens of one family, or of all, expire now; return how many did."""
        with self.lock:
            live = [a for f in self._chosen(family) for a in f.access_tokens if self.is_live(a)]
            for access in live:
                access.expires_at = self._now()
            return len(live)

    def kill(self, family: int | None) -> int:
        """End one family, or all, from Katana's side; return how many were live."""
        with self.lock:
            living = [f for f in self._chosen(family) if f.reason is None]
            for each in living:
                self._end(each, "ended")
            return len(living)

    def is_live(self, access: AccessToken) -> bool:
        """Return whether the API accepts this access token at this moment."""
        return not access.killed and self._now() < access.expires_at

    def _presented(self, token: str) -> tuple[Family, RefreshToken]:
        """Return a known token and its live family; count that it was sent."""
        known = self._refresh.get(digest(token))
        if known is None:
            raise UnknownRefreshToken(None, "no such refresh token")
        family, link = known
        link.presented += 1
        if family.reason is not None:
            raise UnknownRefreshToken(family.id, f"family {ENDINGS[family.reason]}")

        return family, link

    def _in_overlap(self, family: Family, link: RefreshToken, overlap: int) -> bool:
        """Return whether a spent token is of the previous generation and within the overlap."""
        if link.spent_at is None or link.generation != family.newest - 1:
            return False

        return self._now() - link.spent_at < timedelta(seconds=overlap)

    def _issue(self, family: Family, generation: int, rules: Rules, remark: str) -> Grant:
        """Add a refresh token and an access token; older refresh tokens count as spent."""
        now, lifetime = self._now(), rules.access_token_seconds
        for older in family.refresh_tokens:
            if older.generation < generation and older.spent_at is None:
                older.spent_at = now

        refresh_token = f"refresh-{secrets.token_urlsafe(32)}"
        link = RefreshToken(digest(refresh_token), generation, now)
        family.refresh_tokens.append(link)
        self._refresh[link.digest] = family, link

        access_token = f"access-{secrets.token_urlsafe(32)}"
        access = AccessToken(digest(access_token), now + timedelta(seconds=lifetime))
        family.access_tokens.append(access)
        self._access[access.digest] = family, access
        return Grant(family.id, access_token, refresh_token, lifetime, remark)

    def _end(self, family: Family, reason: str) -> None:
        """End a family. Only the first reason is kept."""
        family.reason = family.reason or reason
        for access in family.access_tokens:
            access.killed = access.killed or self.is_live(access)

    def _chosen(self, family: int | None) -> list[Family]:
        """Return one family, or all of them.

        :raise LookupError: there is no family with this id.
        """
        chosen = [each for each in self.all if family is None or each.id == family]
        if family is not None and not chosen:
            raise LookupError(f"There is no family {family}.")

        return chosen
