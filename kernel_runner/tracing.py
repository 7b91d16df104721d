"""The ends of tasks come in; one OpenTelemetry span for each goes out, in batches, over OTLP.

A span is made when its task has ended, with the times of what was.  Spans are sent by a thread of
the SDK, which drops them when its collector does not keep up; nothing here waits for it, but for
the last ones.  Everything else is chosen by the standard variables (OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from kernel_runner import __version__
from kernel_runner.messages.events import Finished
from kernel_runner.metrics import Metrics, TaskEnd

CONTEXT: Final = ("TRACEPARENT", "TRACESTATE")
"""Where a request has the span that it belongs to: in the environment that it asks for."""
FLUSH_SECONDS: Final = 2.0
"""What the last spans get to leave."""
PREFIX: Final = "kernel_runner."


@contextmanager
def traced(metrics: Metrics, language: str) -> Iterator[None]:
    """Tasks that end while the block is open become spans."""
    # what the environment says of the service goes before our own words
    said = OTELResourceDetector().detect().attributes
    resource = Resource.create(
        {"service.name": "kernel-runner", "service.version": __version__, **said}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metrics.listeners.append(Spans(provider, language).tell)
    try:
        yield
    finally:
        # a collector that does not answer would keep us for half a minute
        flush = threading.Thread(target=provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)


class Spans:
    """Makes the span of each task.

    Args:
        provider: where the spans go.
    """

    def __init__(self, provider: TracerProvider, language: str) -> None:
        self._tracer = provider.get_tracer("kernel_runner", __version__)
        self._language = language
        self._propagator = TraceContextTextMapPropagator()

    def tell(self, task: TaskEnd) -> None:
        """A task has ended just now."""
        end_ns = time.time_ns()
        arrived_ns = end_ns - round(task.age_seconds * 1e9)
        carrier = {name.lower(): task.env[name] for name in CONTEXT if name in task.env}
        span = self._tracer.start_span(
            task.op,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=self._attributes(task),
            start_time=arrived_ns,
        )
        if task.waited_seconds is not None:
            span.add_event("started", timestamp=arrived_ns + round(task.waited_seconds * 1e9))
        if _went_wrong(task.finish):
            span.set_status(StatusCode.ERROR, task.finish.message)
        span.end(end_ns)

    def _attributes(self, task: TaskEnd) -> dict[str, AttributeValue]:
        finish, usage = task.finish, task.finish.usage
        ours: dict[str, AttributeValue] = {
            **task.words,
            "language": self._language,
            "reason": finish.reason,
            **{f"usage.{name}": getattr(usage, name) for name in usage.__struct_fields__},
        }
        if task.waited_seconds is not None:
            ours["queue_wait_s"] = task.waited_seconds
        found: dict[str, AttributeValue] = {PREFIX + name: value for name, value in ours.items()}
        found["process.exit.code"] = finish.exit_code
        if _went_wrong(finish):
            found["error.type"] = finish.reason
        return found


def _went_wrong(finish: Finished) -> bool:
    return finish.reason != "completed" or finish.exit_code != 0
