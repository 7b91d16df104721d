"""The name of a command comes in; what it tells is printed, and its exit code goes out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from kernel_runner.jail import explain, landlock, launch, places, policy, probe, schema
from kernel_runner.jail import plan as plans
from kernel_runner.jail.errors import UsageError
from kernel_runner.jail.learn import Lesson, audit_plan
from kernel_runner.jail.options import start_of
from kernel_runner.jail.policy_files import locate, shown
from kernel_runner.jail.run import run
from kernel_runner.jail.start import Start

WIDTH: Final = 40


def carry_out(command: str, words: Sequence[str]) -> int:
    """Raises JailError: what was asked for cannot be done."""
    match command, words:
        case "check", [name]:
            return _check(name)
        case "explain", [name]:
            path = locate(name)
            print("\n".join(explain.explain(policy.read(path).policy, shown(path))))
            return 0
        case "doctor", [] | [_]:
            return _doctor(words[0] if words else "default")
        case "schema", []:
            print(json.dumps(schema.json_schema(), indent=2))
            return 0
        case _:
            raise UsageError(f"{' '.join([command, *words])}: see kernel-jail --help")


def _check(name: str) -> int:
    plan = plans.load(name)
    print(f"{plan['policy']}: it can be used")
    for path in _plain_paths(plan):
        if not os.path.exists(path):
            print(f"{plan['policy']}: {path} does not exist here; it is left out")
    return 0


def _plain_paths(plan: plans.Plan) -> list[str]:
    found = [path for paths in plan["places"].values() for path in paths]
    return [path for path in dict.fromkeys(found) if not path.startswith("{")]


def _doctor(name: str) -> int:
    findings = probe.probe()
    for finding in findings:
        print(f"{'ok' if finding.holds else 'no':<4}{finding.rule:<{WIDTH}}{finding.text}")
    plan = plans.load(name)
    missing = launch.lacking(plan, landlock.abi(), listens=True)
    for sentence in missing:
        print(f"no  {plan['policy']}: {sentence}")
    if not missing:
        print(f"ok  {plan['policy']}: all of it is enforced here")
    return 1 if missing and not plan["best_effort"] else 0


def learn(options: Mapping[str, str], command: list[str]) -> int:
    """Run the command uncontained and print what it needs; its exit code.

    Raises:
        JailError: it cannot be run.
    """
    path = locate(options.get("--policy", "default"))
    read = policy.read(path)
    start = start_of(audit_plan(read.policy, path), command, dict(options))
    program = places.find_program(command[0], os.environ.get("PATH", os.defpath), start.work_dir)
    variables = places.variables(work_dir=start.work_dir, tmp=start.work_dir, program=program)
    lesson = Lesson(read.policy, _roots(read.policy, variables))
    name = options.get("--policy", "default")

    def tell() -> None:
        print("\n".join(["", *lesson.lines(name)]), file=sys.stderr, flush=True)

    return run(
        Start(
            start.plan,
            command,
            work_dir=options.get("--work-dir"),
            sentences=start.sentences,
            records_fd=start.records_fd,
            learner=lesson,
            at_end=tell,
        )
    )


def _roots(chosen: schema.Policy, variables: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {
        name: [
            os.path.realpath(path) for path in places.put_in(getattr(chosen.files, name), variables)
        ]
        for name in ("read", "execute", "write", "device")
    }
