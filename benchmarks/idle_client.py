"""`ours` or `ipykernel` comes in; what a client and its idle kernel weigh goes out as JSON.

A process of its own, so that the client is measured with nothing else in it:

    python -m benchmarks.idle_client ours
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping

from benchmarks.memory import MIB, children, family, name_of, pss_bytes


async def weigh_ours() -> dict[str, float]:
    from kernel_runner.client import launch

    async with launch("python", runtime_path=sys.executable) as kernel:
        await kernel.query("1+1").answer()
        runner = (await kernel.status()).pid
        [guardian] = children(os.getpid())
        keepers = dict.fromkeys(children(guardian), "keeper")
        return _weights({guardian: "guardian", **keepers, runner: "runner"})


async def weigh_peer() -> dict[str, float]:
    from benchmarks.peers import peer

    async with peer() as kernel:
        assert kernel is not None, "it is installed"
        await kernel.query_seconds("1+1", 1)
        return _weights({kernel.pid: "kernel"})


def _weights(names: Mapping[int, str]) -> dict[str, float]:
    """MiB of this process as `client`, and of those below it by their names here or their own."""
    client, *below = family(os.getpid())
    weights = {"client": pss_bytes(client) / MIB}
    for pid in below:
        name = names.get(pid) or name_of(pid)
        weights[name] = weights.get(name, 0) + pss_bytes(pid) / MIB
    return weights


if __name__ == "__main__":
    weigh = weigh_ours if sys.argv[1] == "ours" else weigh_peer
    print(json.dumps(asyncio.run(weigh())))
