"""One OpenTelemetry span for each request to Katana, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Otherwise OpenTelemetry is not imported, and its packages need not be installed. A span has the
method, the host, the path as a template, and the status or the class of the error. It has no query,
header, body or error text.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

SERVICE = "connect-to-katana"
EXPORT_SECONDS = 5
#: A path segment that names a list or a version. Any other segment may be an id.
WORD = re.compile(r"(?:[A-Za-z][A-Za-z_.-]{0,40}|v[0-9]{1,3})?")

SetStatus = Callable[[int], None]

_UNTRACED = nullcontext[SetStatus](lambda _status: None)
_tracer: "Tracer | None" = None


def set_up(endpoint: str | None) -> None:
    """Send spans to `endpoint` until this process ends."""
    global _tracer
    if endpoint is None or _tracer is not None:
        return

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
    # Not the global provider: spans of other libraries are not sent. It flushes when the process
    # ends.
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer(SERVICE)


def request(method: str, url: str) -> AbstractContextManager[SetStatus]:
    """A context manager for one request. Call the yielded function with the response's status."""
    return _UNTRACED if _tracer is None else _span(_tracer, method, url)


@contextmanager
def _span(tracer: "Tracer", method: str, url: str) -> Iterator[SetStatus]:
    from opentelemetry.trace import SpanKind, StatusCode

    parts = urlsplit(url)
    template = path_template(parts.path)
    attributes = {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "url.template": template,
    }
    # Only the class of an exception: its text may contain ids.
    with tracer.start_as_current_span(
        f"{method} {template}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:

        def set_status(status: int) -> None:
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_status(StatusCode.ERROR)

        try:
            yield set_status
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def path_template(path: str) -> str:
    """`path` with {id} in place of each segment that does not match WORD."""
    parts = path.split("/")
    return "/".join(part if WORD.fullmatch(part) else "{id}" for part in parts)
