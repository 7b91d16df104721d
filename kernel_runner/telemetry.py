"""Options of log, metrics and spans as people write them in; what the runner is to tell out."""

import logging
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from kernel_runner import addresses
from kernel_runner.logs import LogFormat

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

EXPECTED: Final[Mapping[object, str]] = {
    LogFormat | None: "text or json",
    LogLevel | None: "debug, info, warning or error",
}
OTEL_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OTEL_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
OTEL_KEYS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
"""What lets the runner into a collector is not for programs."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As people write them, or absent."""

    log_format: LogFormat | None = None
    log_level: LogLevel | None = None
    metrics: str | None = None
    otel: bool | None = None
    debug: bool | None = None


class Telemetry(msgspec.Struct, frozen=True):
    """What a runner tells whoever runs it.

    `log_level` and `log_format` are for standard error.  `spans` may be wanted by the environment
    alone; then a runner that cannot send any goes on without.
    """

    log_format: LogFormat = "text"
    log_level: int = logging.WARNING
    metrics_at: str | None = None
    spans: Literal["no", "if possible", "yes"] = "no"


def read(
    options: Options,
    environment: Mapping[str, str],
    problems: list[str],
    *,
    plaintext: bool | None,
) -> Telemetry:
    """What is meant; what cannot be is added to the problems."""
    level = options.log_level or ("debug" if options.debug else "warning")
    return Telemetry(
        log_format=options.log_format or "text",
        log_level=logging.getLevelNamesMapping()[level.upper()],
        metrics_at=_metrics_at(options.metrics, problems, plaintext=plaintext),
        spans=_spans(options.otel, environment),
    )


def _metrics_at(text: str | None, problems: list[str], *, plaintext: bool | None) -> str | None:
    if text in (None, addresses.NO_ADDRESS):
        return None
    address = addresses.in_full(text)  # whatever ``bind`` says: clients need not read metrics
    if not address.startswith("tcp://") or addresses.problem_of(address):
        problems.append(f"metrics: {text!r} is no address; write PORT, tcp://HOST:PORT or none")
    elif addresses.reaches_others(address) and not plaintext:
        problems.append(
            f"metrics: {address} can be reached from other machines; bind 127.0.0.1, or say "
            "--plaintext on a network that is private"
        )
    return address


def _spans(
    otel: bool | None, environment: Mapping[str, str]
) -> Literal["no", "if possible", "yes"]:
    if otel is not None:
        return "yes" if otel else "no"
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    is_elsewhere |= any(environment.get(name) == "grpc" for name in OTEL_PROTOCOLS)
    has_endpoint = any(environment.get(name) for name in OTEL_ENDPOINTS)
    return "if possible" if has_endpoint and not is_disabled and not is_elsewhere else "no"
