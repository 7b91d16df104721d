"""Policies: how they add up, and what is refused, with the file, the line, the key and why."""

import errno
import json
from pathlib import Path

import pytest

from kernel_runner.jail import explain, plan, policy, policy_files, schema
from kernel_runner.jail.errors import PolicyError

SHIPPED = sorted(path.stem for path in Path(policy_files.shipped_folder()).glob("*.yml"))

BAD = {
    "files: {reed: [/usr]}": "own.yml:1: files.reed: unknown key",
    "\nprocess:\n  max_procs: 3": "own.yml:3: process.max_procs: unknown key",
    "syscalls: {allow: [ptrace]}": "own.yml:1: syscalls.allow[0]: ptrace reads or changes other"
    " processes; it is never allowed",
    "syscalls:\n  allow:\n    - '@kernel'": "own.yml:3: syscalls.allow[0]: acct loads code into"
    " the kernel or changes the machine; it is never allowed",
    "syscalls: {watch: [bpf]}": "own.yml:1: syscalls.watch[0]: bpf loads code into the kernel or"
    " changes the machine; it is never allowed",
    "syscalls: {allow: [clone3]}": "own.yml:1: syscalls.allow[0]: clone3 has its flags in memory,"
    " where nobody can check them; it is never allowed",
    "syscalls: {allow: [mnout]}": "own.yml:1: syscalls.allow[0]: mnout: no such system call or"
    " group",
    "syscalls: {allow: ['@nothing']}": "own.yml:1: syscalls.allow[0]: @nothing: no such system"
    " call or group",
    "syscalls: {quiet: {mount: ENOTHING}}": "own.yml:1: syscalls.quiet.mount: ENOTHING is no error"
    " number",
    "files: {write: [/]}": "own.yml:1: files.write[0]: / is never writable: it changes the system"
    " itself",
    "files: {write: [/proc/sys]}": "own.yml:1: files.write[0]: /proc/sys is never writable: it"
    " changes the system itself",
    "files: {device: [/dev/mem]}": "own.yml:1: files.device[0]: /dev/mem is never a device that a"
    " program gets",
    "files: {device: [/etc/passwd]}": "own.yml:1: files.device[0]: /etc/passwd is never a device"
    " that a program gets",
    "files: {read: ['{hone}']}": "own.yml:1: files.read[0]: {hone}: no such variable; there are"
    " work_dir, tmp, python, program, terminal, home, package",
    "files: {read: [/usr/../root]}": "own.yml:1: files.read[0]: /usr/../root: write it without ..",
    "files: {read: [usr]}": "own.yml:1: files.read[0]: Expected `str` matching regex",
    "network: {listen: [70000]}": "own.yml:1: network.listen[0]: Expected `int` <= 65535",
    "network: {listen: raw}": "own.yml:1: network.listen: Invalid enum value 'raw'",
    "limits: {file_size: 3 GB}": "own.yml:1: limits.file_size: Expected `str` matching regex",
    "on_violation: scold": "own.yml:1: on_violation: Invalid enum value 'scold'",
    "extends: nobody": "own.yml:1: extends: nobody: no policy of this name",
    "extends: own": "own.yml: extends: it extends itself, or too many",
    "files: {read: [/usr]\nx": "own.yml:2: not YAML:",
    "a: 1\na: 2": "own.yml:2: a: twice",
    "- files": "own.yml:1: not a map of keys",
    "&a [*a]": "own.yml:1: too many values, or too deep",
    "[" * 9000: "own.yml: not YAML: too deep",
}


@pytest.mark.parametrize(("text", "sentence"), BAD.items())
def test_a_bad_policy_is_refused_in_one_sentence(
    text: str, sentence: str, policy_file: Path
) -> None:
    policy_file.write_text(text)

    with pytest.raises(PolicyError) as refused:
        policy.read(str(policy_file))

    said = str(refused.value).removeprefix(f"{policy_file.parent}/")
    assert said.startswith(sentence)
    assert "\n" not in said


def test_lists_add_maps_merge_and_the_rest_replaces(policy_file: Path) -> None:
    policy_file.write_text(
        "extends: default\n"
        "files: {read: [/srv, /usr], execute: !reset [/srv]}\n"
        "environment: {set: {A: b}}\n"
        "process: {max_processes: 3}\n"
    )
    default = policy.read(policy_files.locate("default")).policy

    own = policy.read(str(policy_file)).policy

    assert own.files.read == (*default.files.read, "/srv")
    assert own.files.execute == ("/srv",)
    assert own.environment.set == {"A": "b"}
    assert own.environment.keep == default.environment.keep
    assert own.process.max_processes == 3
    assert own.process.max_threads == default.process.max_threads


def test_a_number_can_be_made_unlimited_again(policy_file: Path) -> None:
    policy_file.write_text("extends: default\nlimits: {file_size: unlimited, wall: 90 s}\n")

    made = policy.compile_policy(policy.read(str(policy_file)).policy, str(policy_file))

    assert 1 not in made["rlimits"]
    assert made["wall_seconds"] == 90


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_can_be_used_and_explained(name: str) -> None:
    path = policy_files.locate(name)
    read = policy.read(path).policy

    lines = explain.explain(read, policy_files.shown(path))

    assert lines[0] == f"jail-policies/{name}.yml allows"
    assert plan.load(name)["policy"] == f"jail-policies/{name}.yml"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_exception_of_a_language_has_a_reason(name: str) -> None:
    first = Path(policy_files.locate(name)).read_text().splitlines()[0]

    assert first.startswith("# ")


def test_the_plan_is_kept_and_made_anew_when_a_text_changes(policy_file: Path) -> None:
    policy_file.write_text("extends: default\nprocess: {max_processes: 3}\n")
    first = plan.load(str(policy_file))
    assert list((policy_file.parent / plan.CACHE).iterdir()) != []

    kept = plan.load(str(policy_file))
    policy_file.write_text("extends: default\nprocess: {max_processes: 4}\n")
    changed = plan.load(str(policy_file))

    assert kept == first
    assert changed["max_processes"] == 4


def test_a_kept_plan_that_others_may_write_to_is_not_used(policy_file: Path) -> None:
    policy_file.write_text("extends: default\n")
    plan.load(str(policy_file))
    (kept,) = (policy_file.parent / plan.CACHE).iterdir()
    kept.write_bytes(b"\xff")
    kept.chmod(0o666)

    assert plan.load(str(policy_file))["max_processes"] == 64


def test_the_schema_is_json_and_knows_every_key() -> None:
    text = json.dumps(schema.json_schema())

    assert all(f'"{key}"' in text for key in schema.Policy.__struct_fields__)
    assert schema.errno_of("EPERM") == errno.EPERM
