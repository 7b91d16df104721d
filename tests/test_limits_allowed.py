"""Requests with limits of every kind come in; those that cannot be are refused, with a sentence."""

from pathlib import Path

import pytest

from kernel_runner import limit_words
from kernel_runner.limits import Allowance
from kernel_runner.messages.options import Limits
from tests.commanding import command
from tests.running import connected, conversation, runner

MIB = 1 << 20
BAD = [
    ({"wall_s": -1}, "limits.wall_s has to be above 0, not -1"),
    ({"cpu_s": 0}, "limits.cpu_s has to be above 0, not 0"),
    ({"memory_bytes": 0}, "limits.memory_bytes has to be above 0, not 0"),
    ({"processes": -5}, "limits.processes has to be above 0, not -5"),
    ({"memory_bytes": 65 * MIB}, "limits.memory_bytes: 65 MiB is above what this runner allows, "),
    ({"wall_s": 60.5}, "limits.wall_s: 60.5 s is above what this runner allows, 60 s"),
    ({"open_files": 1.5}, "int"),
    ({"on_output_limit": "stop"}, "stop"),
    ({"wall_seconds": 1}, "wall_seconds"),
]


async def test_a_request_may_lower_the_defaults_and_raise_them_up_to_the_ceiling(
    tmp_path: Path,
) -> None:
    options = ("--limits=wall=0.3,open-files=40", "--max-limits=wall=60,memory=64M")
    async with runner(tmp_path, "shell", *options) as started, connected(started) as client:
        default = await client.run("exec", "sleep 60")
        lower = await client.run("exec", "ulimit -n; sleep 60", limits={"wall_s": 0.1})
        higher = await client.run("exec", "sleep 0.5; ulimit -n", limits={"wall_s": 20})
        ceiling = await client.run("exec", "ulimit -d", limits={"wall_s": 20})
        for limits, part in BAD:
            refused = await client.run("exec", "echo ran", limits=limits)
            assert refused.end == (127, "bad-request"), limits
            assert part in refused.finish["message"]
            assert refused.stdout == b""
        after = await client.run("exec", "echo fine")

    assert (default.end, lower.end) == ((143, "timeout"), (143, "timeout"))
    assert default.finish["message"] == "it ran longer than 0.3 s"
    assert lower.finish["message"] == "it ran longer than 0.1 s"
    assert lower.stdout == higher.stdout == b"40\n"
    assert ceiling.stdout == b"%d\n" % ((2 * 64 + 256) * 1024)
    assert after.stdout == b"fine\n"


async def test_an_agent_has_the_limits_of_the_configuration(tmp_path: Path) -> None:
    async with conversation("agent", tmp_path, "python", "--limits=cpu=0.3") as (_, client):
        heard = await client.run("code", "while True: pass")
        after = await client.run("code", "print('on')")

    assert heard.end == (130, "cpu-limit")
    assert after.stdout == b"on\n"


def test_what_neither_request_nor_default_says_is_as_the_ceiling() -> None:
    allowance = Allowance(Limits(cpu_s=1), Limits(cpu_s=5, processes=9, on_output_limit="drop"))

    assert allowance.limits_of(Limits(wall_s=2, cpu_s=3)) == Limits(
        wall_s=2, cpu_s=3, processes=9, on_output_limit="drop"
    )


@pytest.mark.parametrize(
    ("text", "count_bytes"),
    [("65536", 65536), ("64k", 65536), ("1.5M", 3 << 19), ("2GiB", 2 << 30), ("1 TB", 1 << 40)],
)
def test_sizes_are_read(text: str, count_bytes: int) -> None:
    assert limit_words.parse_size(text) == count_bytes


@pytest.mark.parametrize("text", ["", "M", "-1M", "0", "0.5", "1X", "nan", "inf", "1e400", "1 2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size above 0"):
        limit_words.parse_size(text)


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [(1, "1 bytes"), (1023, "1023 bytes"), (256 << 20, "256 MiB"), (1500 << 20, "1.5 GiB")],
)
def test_sizes_are_written(count_bytes: int, text: str) -> None:
    assert limit_words.size(count_bytes) == text


def test_run_takes_limits_and_says_which_one_was_passed(tmp_path: Path) -> None:
    run = ("run", "--lang", "python", "-c")

    cpu = command(*run, "while True: pass", "--cpu", "0.3", cwd=tmp_path)
    memory = command(*run, "a = b'x' * 10**8; input()", "--memory", "50M", cwd=tmp_path)
    output = command(
        *(*run, "for n in range(10**5): print(n)", "--output", "1K"),
        *("--on-output-limit", "drop"),
        cwd=tmp_path,
    )
    bad = command(*run, "1", "--memory", "lots", cwd=tmp_path)

    assert (cpu.returncode, "more than 0.3 s of processor time" in cpu.stderr) == (143, True)
    assert "it used more than 50 MiB of memory" in memory.stderr
    assert output.returncode == 0
    assert len(output.stdout) == 1024
    assert output.stdout.endswith("99998\n99999\n")
    assert "it wrote more than 1 KiB of output" in output.stderr
    assert bad.returncode == 2
    assert "'lots' is no size above 0, such as 65536, 64K, 256M or 2G" in bad.stderr
