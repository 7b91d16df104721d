"""Fixtures of the jail's tests."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_runner.jail import landlock
from tests.jail import jailing, victim

NEEDS_ABI = 6


@pytest.fixture(scope="session")
def shared_jailer() -> Iterator[jailing.Jailer]:
    if landlock.abi() < NEEDS_ABI:
        pytest.skip(f"this kernel's Landlock is older than ABI {NEEDS_ABI}")
    # pytest's own folders are closed to other users
    with (
        tempfile.TemporaryDirectory(prefix="kernel-jail-test-") as folder,
        jailing.jailer(Path(folder)) as jailer,
    ):
        yield jailer


@pytest.fixture
def jailer(shared_jailer: jailing.Jailer) -> jailing.Jailer:
    """With an empty work directory."""
    subprocess.run(["find", shared_jailer.work, "-mindepth", "1", "-delete"], check=True)
    return shared_jailer


@pytest.fixture(scope="session")
def target(shared_jailer: jailing.Jailer) -> Iterator[victim.Victim]:
    """A process of the same user outside of the jail."""
    with victim.standing(shared_jailer.outside) as standing:
        yield standing


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """Where a test writes a policy of its own."""
    return tmp_path / "own.yml"
