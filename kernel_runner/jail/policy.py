"""A policy file comes in; the policy goes out, with all it extends, and its compiled form.

Lists add to those of what is extended (`!reset [...]` replaces one), maps merge, all else
replaces.  What is never granted is refused here, with the file, the line, the key and the reason.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import msgspec
import yaml

from kernel_runner.jail import bpf, places, policy_files, rules, schema, syscalls
from kernel_runner.jail.errors import PolicyError
from kernel_runner.jail.schema import Policy

if TYPE_CHECKING:
    from kernel_runner.jail.plan import Plan
    from kernel_runner.jail.rules import Choice
    from kernel_runner.jail.syscalls import Machine

Value: TypeAlias = Any  # what YAML gives; a type only after `msgspec.convert`
Key: TypeAlias = tuple[str | int, ...]

MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 8
MAX_EXTENDED: Final = 8
WRITE_NEVER: Final = ("/proc", "/sys", "/dev", "/boot", "/etc", "/usr", "/bin", "/sbin", "/lib")
WRITE_DESPITE: Final = ("/dev/shm",)
DEVICE_NEVER: Final = ("/dev/mem", "/dev/kmem", "/dev/port", "/dev/kvm", "/dev/kmsg", "/dev")


@dataclass(frozen=True, slots=True)
class Read:
    """A policy and the texts of all files that it was made of."""

    policy: Policy
    texts: dict[str, bytes]


@dataclass(slots=True)
class _Document:
    """One file: its values, the line of each key, and the lists that replace."""

    file: str
    value: Value
    lines: dict[Key, int]
    resets: set[Key]

    def fail(self, key: Key, reason: str) -> NoReturn:
        line = next(self.lines[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.lines)
        words = [f"[{one}]" if isinstance(one, int) else f".{one}" for one in key]
        raise PolicyError(self.file, line, "".join(words).lstrip("."), reason)


def read(path: str) -> Read:
    """The policy in this file, with all that it extends.

    Raises:
        PolicyError: one of the files cannot be used.
    """
    texts: dict[str, bytes] = {}
    merged = _read_merged(path, texts)
    return Read(msgspec.convert(merged, Policy), texts)


def _read_merged(path: str, texts: dict[str, bytes]) -> Value:
    if path in texts or len(texts) == MAX_EXTENDED:
        raise PolicyError(
            policy_files.shown(path), None, "extends", "it extends itself, or too many"
        )
    texts[path] = policy_files.read_text(path)
    document = _parse(policy_files.shown(path), texts[path])
    _validate(document)
    base = document.value.get("extends")
    if base is None:
        return document.value
    try:
        extended = policy_files.locate(base, beside=path)
    except PolicyError as error:
        document.fail(("extends",), str(error))
    return _merge(_read_merged(extended, texts), document.value, document.resets, ())


def _merge(below: Value, above: Value, resets: set[Key], key: Key) -> Value:
    if isinstance(below, dict) and isinstance(above, dict):
        both = {**below, **above}
        for name in below.keys() & above.keys():
            both[name] = _merge(below[name], above[name], resets, (*key, name))
        return both
    if isinstance(below, list) and isinstance(above, list) and key not in resets:
        return below + [one for one in above if one not in below]
    return above


def _parse(file: str, text: bytes) -> _Document:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = mark.line + 1 if mark else None
        raise PolicyError(file, line, "", f"not YAML: {problem}") from error
    except RecursionError:
        raise PolicyError(file, None, "", "not YAML: too deep") from None
    document = _Document(file, {}, {(): 1}, set())
    if node is not None:
        document.value = _Builder(loader, document).build(node, ())
    if not isinstance(document.value, dict):
        document.fail((), "not a map of keys")
    return document


class _Builder:
    """Makes values of nodes, and keeps where each stood."""

    def __init__(self, loader: yaml.SafeLoader, document: _Document) -> None:
        self._loader = loader
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, key: Key) -> Value:
        self._nodes += 1
        self._document.lines[key] = node.start_mark.line + 1
        if self._nodes > MAX_NODES or len(key) > MAX_DEPTH:
            self._document.fail((), "too many values, or too deep")
        if isinstance(node, yaml.MappingNode):
            return self._build_map(node, key)
        if isinstance(node, yaml.SequenceNode):
            if node.tag == "!reset":
                self._document.resets.add(key)
            return [self.build(one, (*key, at)) for at, one in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or str(error)
            self._document.fail(key, problem)

    def _build_map(self, node: yaml.MappingNode, key: Key) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name_node, value_node in node.value:
            name = str(name_node.value)
            if name in found:
                self._document.lines[(*key, name)] = name_node.start_mark.line + 1
                self._document.fail((*key, name), "twice")
            found[name] = self.build(value_node, (*key, name))
            self._document.lines[(*key, name)] = name_node.start_mark.line + 1
        return found


UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$(.*)`)?$")
WRONG: Final = re.compile(r"(.*?)(?: - at `(?:key in )?\$(.*)`)?$", re.DOTALL)


def _validate(document: _Document) -> None:
    """Everything that can be said of one file alone.

    Raises:
        PolicyError
    """
    try:
        policy = msgspec.convert(document.value, Policy)
    except msgspec.ValidationError as error:
        text = str(error)
        if unknown := UNKNOWN.match(text):
            document.fail((*_key_of(unknown[2] or ""), unknown[1]), "unknown key")
        wrong = WRONG.match(text)
        assert wrong is not None, "it matches anything"
        document.fail(_key_of(wrong[2] or ""), wrong[1])
    _validate_paths(document, policy)
    _validate_calls(document, policy)


def _key_of(path: str) -> Key:
    words = re.findall(r"\.([^.\[]+)|\[(\d+)\]", path)
    return tuple(int(number) if number else name for name, number in words)


def _validate_paths(document: _Document, policy: Policy) -> None:
    for name in ("read", "execute", "write", "device"):
        for at, path in enumerate(getattr(policy.files, name)):
            key: Key = ("files", name, at)
            if path.startswith("{") and path[1:].partition("}")[0] not in places.VARIABLES:
                known = ", ".join(places.VARIABLES)
                document.fail(key, f"{path}: no such variable; there are {known}")
            if ".." in path.split("/"):
                document.fail(key, f"{path}: write it without ..")
            plain = path.rstrip("/") or "/"
            if name == "write" and (plain == "/" or _is_system(plain)):
                document.fail(key, f"{path} is never writable: it changes the system itself")
            if name == "device" and (plain in DEVICE_NEVER or not _is_device(plain)):
                document.fail(key, f"{path} is never a device that a program gets")


def _is_system(path: str) -> bool:
    return places.is_below(path, WRITE_NEVER) and not places.is_below(path, WRITE_DESPITE)


def _is_device(path: str) -> bool:
    return path.startswith("{") or places.is_below(path, ("/dev",))


def _validate_calls(document: _Document, policy: Policy) -> None:
    own = policy.syscalls
    for name, words in (("allow", own.allow), ("kill", own.kill), ("watch", own.watch)):
        for at, word in enumerate(words):
            calls = _expand(document, ("syscalls", name, at), word)
            for call in sorted(calls & syscalls.FORBIDDEN.keys()) if name != "kill" else ():
                reason = syscalls.FORBIDDEN[call]
                document.fail(("syscalls", name, at), f"{call} {reason}; it is never allowed")
    for name, answers in (("refuse", own.refuse), ("quiet", own.quiet)):
        for word, answer in answers.items():
            _expand(document, ("syscalls", name, word), word)
            if schema.errno_of(answer) is None:
                document.fail(("syscalls", name, word), f"{answer} is no error number")


def _expand(document: _Document, key: Key, word: str) -> frozenset[str]:
    try:
        return syscalls.expand([word])
    except LookupError:
        document.fail(key, f"{word}: no such system call or group")


def with_path_reports(policy: Policy) -> Policy:
    """The same, with refused files reported."""
    return msgspec.structs.replace(policy, report=schema.Report(paths=True))


def compile_policy(policy: Policy, path: str, machine: Machine | None = None) -> Plan:
    """What launching needs of it, on this machine if none is said.

    Raises:
        PolicyError: there are no numbers for this machine.
    """
    machine = machine or syscalls.this_machine()
    if machine is None:
        raise PolicyError(path, None, "", "only x86_64 and aarch64 are known")
    files, network, limits = policy.files, policy.network, policy.limits
    if network.sockets and (network.listen or network.connect or network.udp):
        reason = "not with ports or udp: no call may be let go on for what its memory says"
        raise PolicyError(policy_files.shown(path), None, "network.sockets", reason)
    clauses = rules.clauses(choice_of(policy), machine)
    silent = rules.lower_to_kill if policy.on_violation == "kill" else rules.lower_to_errno
    filters = {
        "listening": bpf.compile_filter(clauses, machine, rules.lower_to_notify, bpf.NOTIFY),
        "silent": bpf.compile_filter(clauses, machine, silent, bpf.KILL_PROCESS),
    }
    return {
        "policy": policy_files.shown(path),
        "file": os.path.realpath(path),
        "places": {
            one: list(getattr(files, one)) for one in ("read", "execute", "write", "device")
        },
        "listen": _ports(network.listen),
        "connect": _ports(network.connect),
        "unix": network.unix,
        "sockets": list(network.sockets),
        "max_processes": _count(policy.process.max_processes),
        "max_threads": _count(policy.process.max_threads),
        "rlimits": dict(_rlimits(policy)),
        "wall_seconds": schema.seconds_of(limits.wall),
        "keep": list(policy.environment.keep),
        "set": dict(policy.environment.set),
        "on_violation": policy.on_violation,
        "landlock": policy.require.landlock,
        "notify": policy.require.notify,
        "best_effort": policy.best_effort,
        "clauses": {at: one for at, one in clauses.items() if one != (((), rules.PERMIT),)},
        "filters": filters,
    }


def choice_of(policy: Policy) -> Choice:
    """What the rules of calls are made of."""
    own, network = policy.syscalls, policy.network
    return {
        "allow": sorted(syscalls.expand(own.allow)),
        "refuse": _numbers(own.refuse),
        "quiet": _numbers(own.quiet),
        "kill": sorted(syscalls.expand(own.kill)),
        "watch": sorted(syscalls.expand(own.watch)),
        "inet": bool(network.listen or network.connect),
        "listen": bool(network.listen),
        "udp": network.udp,
        "unix": network.unix,
        "sockets": bool(network.sockets),
        "metadata": policy.files.metadata,
        "paths": policy.report.paths,
    }


def _numbers(answers: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word, answer in answers.items():
        number = schema.errno_of(answer)
        assert number is not None, "it was validated"
        found.update(dict.fromkeys(syscalls.expand([word]), number))
    return found


def _ports(ports: schema.Ports) -> list[int] | None:
    return None if ports == "any" else [one for one in ports if isinstance(one, int)]


def _count(count: schema.Count) -> int | None:
    return count if isinstance(count, int) else None


def _rlimits(policy: Policy) -> Iterator[tuple[int, int]]:
    limits = policy.limits
    seconds = schema.seconds_of(limits.cpu)
    found = {
        resource.RLIMIT_FSIZE: schema.bytes_of(limits.file_size),
        resource.RLIMIT_NOFILE: _count(limits.open_files),
        resource.RLIMIT_CORE: schema.bytes_of(limits.core),
        # not RLIMIT_AS: many runtimes reserve far more addresses than they use
        resource.RLIMIT_DATA: schema.bytes_of(limits.memory),
        resource.RLIMIT_CPU: None if seconds is None else max(1, round(seconds)),
    }
    for which, value in found.items():
        if value is not None:
            yield which, value
