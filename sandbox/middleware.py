"""Runs for each request: adds it to the ledger, and applies its fault."""

from flask import Flask, Response, g, request

from sandbox import fault_injection
from sandbox.clock import iso
from sandbox.ledger import Entry
from sandbox.state import memory, sandbox
from sandbox.tokens import digest, fingerprint


def init_app(app: Flask) -> None:
    """Register the functions that run before and after each request."""
    app.before_request(arrive)
    app.after_request(leave)


def note(**known: object) -> None:
    """Add to the current request's entry: family, error or remark."""
    if "entry" in g:
        g.ledger.amend(g.entry, **known)


def arrive() -> Response | None:
    """Add the request to the ledger; return a response if its fault replaces the handling."""
    kind = _kind()
    if kind is None:
        return None
    g.ledger = memory().ledger
    g.entry = g.ledger.write(_entry(kind))
    g.fault = memory().faults.take(kind, request.method, request.path)
    if g.fault is not None:
        note(fault=g.fault.fault)
    sandbox().clock.sleep(memory().rules.latency_seconds)

    return fault_injection.before(g.fault, kind) if g.fault is not None else None


def leave(response: Response) -> Response:
    """Complete the entry, and apply the fault to the response."""
    if "entry" not in g:
        return response
    dropped = g.fault is not None and g.fault.fault == "drop_before"
    status = None if dropped else response.status_code
    note(status=status, finished_at=iso(sandbox().clock.now()))

    return fault_injection.after(g.fault, response) if g.fault is not None else response


def _kind() -> str | None:
    """Return the kind of a request; None for the sandbox's own pages and buttons."""
    if request.path == "/authorize/decision":
        return "decision"
    if request.path == "/oauth/token":
        return "refresh" if request.form.get("grant_type") == "refresh_token" else "exchange"
    if request.path.startswith("/v1/"):
        return "api"

    return {"/authorize": "authorize", "/oauth/revoke": "revoke"}.get(request.path)


def _entry(kind: str) -> Entry:
    secret = _credential(kind)
    return Entry(
        n=0,
        at=iso(sandbox().clock.now()),
        method=request.method,
        path=request.path,
        kind=kind,
        fields=tuple(sorted({*request.args, *request.form})),
        headers=tuple(sorted({name.lower() for name, _ in request.headers})),
        fingerprint=fingerprint(digest(secret)) if secret else None,
    )


def _credential(kind: str) -> str:
    """Return the code or token of a request, empty if none."""
    if kind == "api":
        return bearer_token()
    name = {"exchange": "code", "refresh": "refresh_token", "revoke": "token"}.get(kind, "")
    return request.form.get(name, "")


def bearer_token() -> str:
    """Return the token of a Bearer header, empty if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
