"""Traces: one span for each request to Katana, without a secret, and nothing while they are off."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.errors import ConfigurationError
from app.katana.tracing import path_template
from app.settings import config
from tests.support.actors import Maker, WireBrowser
from tests.support.receivers import Receiver, receiving
from tests.support.sandbox import Sandbox
from tests.support.servers import gunicorn

pytestmark = pytest.mark.one_database


@pytest.fixture
def collector() -> Iterator[Receiver]:
    """A collector of OpenTelemetry."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def endpoint(collector: Receiver) -> str:
    """Where it is."""
    return collector.url.removesuffix("/hook")


@dataclass(frozen=True)
class Span:
    """What one span tells."""

    name: str
    attributes: Mapping[str, str | int]
    events: int


def spans(collector: Receiver) -> list[Span]:
    """All that have arrived."""
    found = []
    for post in collector.posts:
        for of_resource in ExportTraceServiceRequest.FromString(post.body).resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    told = {
                        a.key: a.value.string_value or a.value.int_value for a in span.attributes
                    }
                    found.append(Span(span.name, told, len(span.events)))
    return found


def test_each_request_to_katana_is_a_span_without_a_secret(
    environ: dict[str, str],
    listener: socket,
    sandbox: Sandbox,
    collector: Receiver,
    endpoint: str,
    tmp_path: Path,
) -> None:
    """Its method, host, template and status, or its failure; no token, code, query or body."""
    environ = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    with gunicorn(environ, listener, tmp_path / "served.log", workers=1) as served:
        browser = WireBrowser(served.url)
        maker = Maker(browser, sandbox)
        maker.sign_up()
        maker.connect()
        maker.dashboard()
        sandbox.expire()
        sandbox.fault("refresh", "lose_answer")
        maker.dashboard()
        cookies = set(browser.cookies().values())
        browser.close()
        assert served.stop() == 0  # which sends what was not sent yet

    told = spans(collector)
    assert len(told) == len(sandbox.ledger().of("exchange")) + len(
        sandbox.ledger().of("refresh")
    ) + len(sandbox.ledger().of("api"))
    host = urlsplit(sandbox.url).hostname
    assert {span.attributes["server.address"] for span in told} == {host}
    answered = {(span.name, span.attributes.get("http.response.status_code")) for span in told}
    assert ("POST /oauth/token", 200) in answered
    assert ("GET /v1/sales_orders", 200) in answered
    failed = [span for span in told if "error.type" in span.attributes]
    assert [span.attributes["error.type"] for span in failed] == ["NoAnswer"]
    assert {key for span in told for key in span.attributes} == {
        *("http.request.method", "server.address", "url.template"),
        *("http.response.status_code", "error.type"),
    }
    assert sum(span.events for span in told) == 0

    sent = b"".join(post.body + repr(post.headers).encode() for post in collector.posts)
    known = {environ[name] for name in ("SECRET_KEY", "KATANA_CLIENT_SECRET", "KATANA_CLIENT_ID")}
    for secret in sandbox.secrets | known | cookies | {maker.email, maker.password}:
        assert secret.encode() not in sent
    texts = {str(value) for span in told for value in (span.name, *span.attributes.values())}
    assert not any("?" in text for text in texts)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/sales_orders", "/v1/sales_orders"),
        ("/v1/sales_orders/64", "/v1/sales_orders/{id}"),
        ("/v1/webhooks/12/logs", "/v1/webhooks/{id}/logs"),
        ("/oauth/token", "/oauth/token"),
        ("/v1/x/Zk3xPq9rT", "/v1/x/{id}"),
        ("/a%20b", "/{id}"),
        ("/" + "a" * 60, "/{id}"),
        ("", ""),
    ],
)
def test_a_path_is_told_without_what_it_identifies(path: str, template: str) -> None:
    """Only words stay: a number, or anything that could be a key, does not."""
    assert path_template(path) == template


def imported(environ: Mapping[str, str]) -> str:
    """What of OpenTelemetry a process has imported that has made the app."""
    asked = "import sys, wsgi; print([n for n in sys.modules if n.startswith('opentelemetry')])"
    return subprocess.run(
        (sys.executable, "-c", asked),
        cwd=config.ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_while_they_are_off_nothing_is_imported(environ: dict[str, str]) -> None:
    """Nobody pays for what nobody has asked for."""
    assert imported(environ) == "[]\n"


@pytest.mark.slow
def test_without_the_packages_it_says_what_to_install(environ: dict[str, str]) -> None:
    """The packages are optional; the setting without them is a fault like any other."""
    asked = (
        "import sys; sys.modules['opentelemetry'] = None; from app import create_app; create_app()"
    )

    ended = subprocess.run(
        (sys.executable, "-c", asked),
        cwd=config.ROOT,
        env={"PATH": "/usr/bin:/bin", **environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:1"},
        capture_output=True,
        text=True,
    )

    assert "ENDPOINT needs the packages of requirements-tracing.txt." in ended.stderr


@pytest.mark.parametrize(
    "value", ["collector:4318", "ftp://collector", "http://me:secret@collector", "http://c/?key=1"]
)
def test_a_collector_has_an_address_without_a_secret(environ: dict[str, str], value: str) -> None:
    """What could hold a password is refused, and not repeated."""
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_ENDPOINT must") as refused:
        config.load(environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": value})
    assert value not in str(refused.value)
