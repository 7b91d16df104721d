"""Spans that a runner sends come in over OTLP/HTTP, as to a collector; they go out as data."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """`address` is for OTEL_EXPORTER_OTLP_ENDPOINT; `resources` and `spans` are what came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.resources: list[Mapping[str, Any]] = []
        self.spans: list[Mapping[str, Any]] = []

    @property
    def environment(self) -> Mapping[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.address}

    def take(self, body: bytes) -> None:
        request = MessageToDict(ExportTraceServiceRequest.FromString(body))
        for of_resource in request["resourceSpans"]:
            self.resources.append(attributes(of_resource["resource"]))
            for of_scope in of_resource["scopeSpans"]:
                self.spans.extend(of_scope["spans"])


def attributes(of: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span or resource by name; numbers as numbers."""
    found = {}
    for attribute in of["attributes"]:
        ((kind, value),) = attribute["value"].items()
        found[attribute["key"]] = int(value) if kind == "intValue" else value
    return found


@contextmanager
def collector(*, holds: threading.Event | None = None) -> Iterator[Collector]:
    """A collector on loopback.

    Args:
        holds: it answers nobody before this is set.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if holds is not None:
                holds.wait()
            collected.take(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collected = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collected
    finally:
        if holds is not None:
            holds.set()
        server.shutdown()
        thread.join()
        server.server_close()
