"""A runner in this process: what keeps it from opening is told before the block begins."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kernel_runner import langs
from kernel_runner.channels import Receiver
from kernel_runner.channels.local import LocalChannel
from kernel_runner.embedded import serving
from kernel_runner.errors import ConfigError
from kernel_runner.host import Host
from kernel_runner.launcher import own_guardian
from kernel_runner.workspace import Workspace


class TakenChannel(LocalChannel):
    def open(self, receiver: Receiver) -> Mapping[str, str]:
        raise ConfigError(["session: it is taken"])


async def test_a_channel_that_cannot_be_opened_is_told_before_the_block(tmp_path: Path) -> None:
    began = False
    async with own_guardian(None) as launcher:
        runner = langs.load("shell")(
            Host(launcher, Workspace(tmp_path), tmp_path, dict(os.environ))
        )
        with pytest.raises(ConfigError, match="it is taken"):
            async with serving(runner, TakenChannel(lambda event: None)):
                began = True

    assert not began
