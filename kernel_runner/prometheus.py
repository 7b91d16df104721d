"""The counts of a runner come in; Prometheus' pages go out over HTTP.

Served on the loop, not by a thread: so nothing changes while it is read, and a program that opens
connections without end costs the runner neither threads nor memory.  A page takes a third of a
millisecond, and only `MAX_CONNECTIONS` can ask for one at a time.
"""

import asyncio
import http.client
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from kernel_runner.errors import ConfigError
from kernel_runner.metrics import Histogram, Metrics
from kernel_runner.supervision import attempt_now

PATH: Final = "/metrics"
MAX_CONNECTIONS: Final = 16
MAX_HEAD_BYTES: Final = 16_384
REQUEST_SECONDS: Final = 5.0
"""What one connection gets for its request and for taking the page."""
PREFIX: Final = "kernel_runner_"


class RunnerCollector(Collector):
    """Tells the counts as they are now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        metrics = self._metrics
        tasks = CounterMetricFamily(
            f"{PREFIX}tasks", "Requests that have ended.", labels=("op", "reason")
        )
        for labels, number in metrics.tasks.items():
            tasks.add_metric(labels, number)
        yield tasks
        yield from self._histograms()
        yield from self._counters()
        yield from self._gauges()

    def _histograms(self) -> Iterator[Metric]:
        waits = HistogramMetricFamily(
            f"{PREFIX}queue_wait_seconds", "Time in the queue of requests that left it to run."
        )
        waits.add_metric((), *_buckets(self._metrics.wait_seconds))
        yield waits
        runs = HistogramMetricFamily(
            f"{PREFIX}task_seconds", "Time from start to end of requests.", labels=("op",)
        )
        for op, histogram in self._metrics.run_seconds.items():
            runs.add_metric((op,), *_buckets(histogram))
        yield runs

    def _counters(self) -> Iterator[Metric]:
        metrics, restarts = self._metrics, self._metrics.look().interpreter_restarts
        for name, text, value in (
            ("task_cpu_seconds", "Processor time of requests.", metrics.cpu_seconds),
            ("output_sent_bytes", "Output handed to clients.", metrics.sent_bytes),
            ("output_dropped_bytes", "Output beyond a limit.", metrics.dropped_bytes),
            ("replayed_events", "Events that were sent again.", metrics.replayed_events),
            ("interpreter_restarts", "Interpreters in the place of ended ones.", restarts),
        ):
            yield CounterMetricFamily(PREFIX + name, text, value)

    def _gauges(self) -> Iterator[Metric]:
        now = self._metrics.look()
        for name, text, value in (
            ("queue_length", "Requests that wait.", now.queue_length),
            ("tasks_running", "Requests that run.", now.running),
            ("sessions", "Sessions that are open.", now.sessions),
            ("sessions_read", "Sessions whose events somebody reads.", now.readers),
            ("pending_events", "Events that nobody has taken yet.", now.pending_events),
        ):
            yield GaugeMetricFamily(PREFIX + name, text, value)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """As `add_metric` wants them: the bounds with their counts, and the sum."""
    bounds = (*(str(bound) for bound in histogram.bounds), "+Inf")
    return list(zip(bounds, histogram.counts, strict=True)), histogram.sum


@asynccontextmanager
async def exposed(address: str, metrics: Metrics) -> AsyncIterator[str]:
    """Pages are served while the block is open; the URL.

    Args:
        address: as ``tcp://host:port``.

    Raises:
        ConfigError: it cannot be bound.
    """
    registry = CollectorRegistry()
    registry.register(RunnerCollector(metrics))
    ProcessCollector(registry=registry)
    pages = _Pages(registry)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        server = await asyncio.start_server(
            pages.serve, host.strip("[]"), int(port), limit=MAX_HEAD_BYTES
        )
    except OSError as error:
        # asyncio's own words name the address once more before the reason
        reason = (error.strerror or str(error)).rpartition(": ")[2]
        raise ConfigError([f"metrics: cannot bind {address}: {reason}"]) from error
    try:
        bound = server.sockets[0].getsockname()[1]
        yield f"http://{host}:{bound}{PATH}"
    finally:
        server.close()
        pages.close()


class _Pages:
    """The connections of one endpoint; each is for one request."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        with suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(await self._answer(reader))
                writer.close()
                await writer.wait_closed()
        writer.transport.abort()
        self._open.discard(writer)

    def close(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ")
            headers = http.client.parse_headers(io.BytesIO(rest))
        except (asyncio.LimitOverrunError, ValueError, http.client.HTTPException):
            return _response(HTTPStatus.BAD_REQUEST)
        if target.partition("?")[0] != PATH:
            return _response(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "allow: GET, HEAD")
        encode, content_type = choose_encoder(headers.get("accept", ""))
        page: list[bytes] = []
        if attempt_now(lambda: page.append(encode(self._registry)), "a scrape"):
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR)
        body = page[0] if method == "GET" else b""
        return _response(HTTPStatus.OK, f"content-type: {content_type}", body, len(page[0]))


def _response(status: HTTPStatus, header: str = "", body: bytes = b"", size: int = 0) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "connection: close"]
    lines += [f"content-length: {size}", *([header] if header else [])]
    return "\r\n".join([*lines, "", ""]).encode() + body
