"""What `serve` is to tell beside its clients in; an open endpoint and spans while it serves out.

Their packages are extras, and are loaded here, only when they are asked for.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from kernel_runner.config import Config
from kernel_runner.errors import ConfigError
from kernel_runner.metrics import Metrics

log = logging.getLogger(__name__)


@asynccontextmanager
async def telling(config: Config, metrics: Metrics) -> AsyncIterator[Mapping[str, str]]:
    """The addresses of what is open inside the block, by their option's name.

    Raises:
        ConfigError: a package is missing, or the address cannot be bound.
    """
    telemetry = config.telemetry
    async with AsyncExitStack() as stack:
        if telemetry.spans != "no":
            try:
                from kernel_runner.tracing import traced
            except ImportError as error:
                problem = f"otel: {error}; install it with pip install 'kernel-runner[otel]'"
                if telemetry.spans == "yes":
                    raise ConfigError([problem]) from error
                log.warning("the environment names a collector for spans, but %s", problem)
            else:
                stack.enter_context(traced(metrics, config.language))
        if telemetry.metrics_at is None:
            yield {}
            return
        try:
            from kernel_runner.prometheus import exposed
        except ImportError as error:
            problem = f"metrics: {error}; install it with pip install 'kernel-runner[metrics]'"
            raise ConfigError([problem]) from error
        yield {"metrics": await stack.enter_async_context(exposed(telemetry.metrics_at, metrics))}
