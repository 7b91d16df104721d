"""A language in; a kernel of Jupyter that is ours out, found by clients as installed ones are."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

SECONDS: Final = 30


@contextmanager
def installed(folder: Path, *words: str) -> Iterator[None]:
    """Kernels that `kernel-runner jupyter install` has made, while the block is open."""
    command = [sys.executable, "-m", "kernel_runner", "jupyter", "install", f"--prefix={folder}"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(folder / "share" / "jupyter")
    try:
        yield
    finally:
        del os.environ["JUPYTER_PATH"]
        if before is not None:
            os.environ["JUPYTER_PATH"] = before


@contextmanager
def running(
    language: str, *, stdin: bool = True
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager(kernel_name=f"kernel-runner-{language}")
    manager.start_kernel()
    client = manager.client()
    client.start_channels(stdin=stdin)
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.context.destroy()


def run(client: BlockingKernelClient, code: str, **options: Any) -> "Outcome":
    """One cell, to its end; it is asked nothing."""
    return heard(client, client.execute(code, **options))


def heard(client: BlockingKernelClient, request: str) -> "Outcome":
    """All that is published of a request, and its reply."""
    messages: list[dict[str, Any]] = []
    while True:
        message = client.get_iopub_msg(timeout=SECONDS)
        if message["parent_header"].get("msg_id") != request:
            continue
        messages.append(message)
        if message["content"].get("execution_state") == "idle":
            break
    return Outcome(messages, reply_to(client, request))


def reply_to(client: BlockingKernelClient, request: str) -> dict[str, Any]:
    """The content of the reply; those to others before it are passed over."""
    while True:
        reply = client.get_shell_msg(timeout=SECONDS)
        if reply["parent_header"].get("msg_id") == request:
            content: dict[str, Any] = reply["content"]
            return content


class Outcome:
    def __init__(self, messages: list[dict[str, Any]], reply: dict[str, Any]) -> None:
        self.messages = messages
        self.reply = reply

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one["content"] for one in self.messages if one["msg_type"] == kind]

    def text(self, stream: str = "stdout") -> str:
        return "".join(one["text"] for one in self.of("stream") if one["name"] == stream)
