"""A strict login server that counts: one token is taken once, and a spent one kills its family.

A process of its own on one event loop, so that it takes little from what is measured and holds
thousands of requests at once. It answers after a set time; the token is spent when it comes in, not
when the answer goes out. A family begins with the first token that comes of it: tokens are named
`refresh-FAMILY-GENERATION-`, and begin at generation 0.

POST /oauth/token            RFC 6749 section 6, errors as in section 5.2
POST /slack/oauth.v2.access  the same in Slack's words (docs.slack.dev, "Using token rotation")
GET  /v1/...                 answers of Katana's API that it was given, after a time of their own
GET  /ledger                 what came, as JSON
"""

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from app.settings.config import ROOT
from benchmarks.databases import token

LIFE_SECONDS = 12 * 3600


@dataclass
class Family:
    """All tokens of one consent."""

    generation: int = 0
    alive: bool = True
    sent: int = 0


@dataclass
class Ledger:
    """All families, by name."""

    families: dict[str, Family] = field(default_factory=dict)

    def refresh(self, refresh_token: str) -> tuple[str, str] | None:
        """The next access and refresh token; None if this one is refused."""
        _, name, generation, _ = refresh_token.split("-", 3)
        family = self.families.setdefault(name, Family())
        family.sent += 1
        if not family.alive or int(generation) != family.generation:
            family.alive = False
            return None

        family.generation += 1
        return pair(name, family.generation)


def pair(name: object, generation: int) -> tuple[str, str]:
    """The access and the refresh token of one generation of a family."""
    return tuple(token(f"{kind}-{name}-{generation}") for kind in ("access", "refresh"))  # type: ignore[return-value]


@dataclass(frozen=True)
class Login:
    """A running login server."""

    url: str

    def family(self, name: object) -> Family:
        """The state of a family."""
        return Family(**self._ledger().get(str(name), {}))

    def sent(self) -> int:
        """The number of refresh requests so far."""
        return sum(family["sent"] for family in self._ledger().values())

    def alive(self) -> int:
        """The number of families that are not revoked."""
        return sum(family["alive"] for family in self._ledger().values())

    def _ledger(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/ledger", timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
            return told


@contextmanager
def login(
    seconds: float, *, life: float = LIFE_SECONDS, api_seconds: float = 0, api: Path | None = None
) -> Iterator[Login]:
    """A login server with a fixed response time, in its own process."""
    command = [sys.executable, "-m", "benchmarks.token_endpoint", str(seconds), str(life)]
    if api:
        command += [str(api_seconds), str(api)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Login(process.stdout.readline().strip())
        finally:
            process.terminate()


class _Server:
    def __init__(
        self, seconds: float, life: float, api_seconds: float, api: dict[str, Any]
    ) -> None:
        self.seconds = seconds
        self.life = life
        self.api_seconds = api_seconds
        self.api = api
        self.ledger = Ledger()

    async def serve(self) -> None:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0, backlog=1024)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        async with server:
            await server.serve_forever()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, answer = await self.route(lines[0].split(" ")[1], body.decode())
        closes = headers.get("connection", "").lower() == "close"
        content = json.dumps(answer).encode()
        writer.write(
            f"HTTP/1.1 {status} Such\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        await writer.drain()
        return not closes

    async def route(self, path: str, body: str) -> tuple[int, Any]:
        if path == "/ledger":
            return 200, {name: vars(family) for name, family in self.ledger.families.items()}
        if path.startswith("/v1/"):
            await asyncio.sleep(self.api_seconds)
            return 200, self.api[path.partition("?")[0]]

        pair = self.ledger.refresh(parse_qs(body)["refresh_token"][0])
        await asyncio.sleep(self.seconds)
        if path.startswith("/slack/"):
            return 200, self.as_slack(pair)
        if pair is None:
            return 403, {
                "error": "invalid_grant",
                "error_description": "Unknown or invalid refresh token.",
            }
        return 200, self.tokens(pair) | {"token_type": "Bearer", "scope": "offline_access"}

    def as_slack(self, pair: tuple[str, str] | None) -> dict[str, Any]:
        if pair is None:
            return {"ok": False, "error": "invalid_refresh_token"}
        return self.tokens(pair) | {"ok": True, "token_type": "bot"}

    def tokens(self, pair: tuple[str, str]) -> dict[str, Any]:
        return {"access_token": pair[0], "refresh_token": pair[1], "expires_in": int(self.life)}


def main() -> None:
    """Serve until ended; the first line on standard output is the URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("life", type=float)
    parser.add_argument("api_seconds", type=float, nargs="?", default=0)
    parser.add_argument("api", type=Path, nargs="?")
    given = parser.parse_args()
    api = json.loads(given.api.read_text()) if given.api else {}
    with suppress(KeyboardInterrupt):
        asyncio.run(_Server(given.seconds, given.life, given.api_seconds, api).serve())


if __name__ == "__main__":
    main()
