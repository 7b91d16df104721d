"""Languages by name: one file each in this folder, and those that plugins bring.

A file in this folder whose name does not begin with an underscore is a language.  Elsewhere the
entry point group `kernel_runner.langs` names a `BaseRunner` subclass for each.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from kernel_runner.errors import BrokenLanguage, UnknownLanguage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from kernel_runner.base import BaseRunner

ENTRY_POINTS: Final = "kernel_runner.langs"
LOAD_FAULTS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError),
    *(OSError, RuntimeError, SyntaxError, TypeError, ValueError),
)
"""What the file of a language may raise while it is loaded."""

Loaded: TypeAlias = "type[BaseRunner] | BrokenLanguage"


def names() -> Sequence[str]:
    """All languages, sorted."""
    return sorted({*_own_names(), *_plugins()})


def load(name: str) -> "type[BaseRunner]":
    """The class of a language, by its name or an alias; ``jupyter:NAME`` is any Jupyter kernel.

    Raises:
        UnknownLanguage: nobody has it.
        BrokenLanguage: its file has a fault.
    """
    if name in _own_names():
        return _load_own(name)
    if name.startswith("jupyter:"):
        from kernel_runner.langs._jupyter import generic

        return generic(name.removeprefix("jupyter:"))
    plugins = _plugins()
    if name in plugins:
        return _load_plugin(plugins[name])
    for language in _loaded(every()):
        if name in language.aliases:
            return language
    raise UnknownLanguage(name, names())


def every() -> Iterator[tuple[str, Loaded]]:
    """Each language with its name, loaded one by one: our own first, a fault in place of one."""
    yield from _every_own()
    yield from _every_plugin()


def of_file(name: str) -> "Sequence[type[BaseRunner]]":
    """The languages that a file has the ending of; a plugin's when none of our own has it.

    An ending in capitals is the same one, unless a language has it so.
    """
    spellings = dict.fromkeys((name, name.lower()))
    for source in (_every_own, _every_plugin):  # to look for plugins takes its time
        for spelling in spellings:
            if found := [one for one in _loaded(source()) if spelling.endswith((*one.extensions,))]:
                return found
    return []


def of_interpreter(name: str) -> "type[BaseRunner] | None":
    """The language that has this name, alias or command, as in the ``#!`` line of a script."""
    named = (one for one in _loaded(every()) if name in (one.name, *one.aliases, one.command))
    return next(named, None)


def endings() -> Sequence[str]:
    """The endings of all languages, sorted."""
    return sorted({ending for language in _loaded(every()) for ending in language.extensions})


def conflicts(languages: Sequence[tuple[str, Loaded]]) -> Sequence[str]:
    """A sentence for each alias or ending that two languages claim; the first one has it."""
    owners = {name: name for name, _ in languages}
    found: list[str] = []
    for language in _loaded(languages):
        for word in (*language.aliases, *language.extensions):
            owner = owners.setdefault(word, language.name)
            if owner != language.name:
                found.append(f"{word!r} belongs to {owner}, and {language.name} claims it too")
    return found


def _loaded(languages: Iterable[tuple[str, Loaded]]) -> "Iterator[type[BaseRunner]]":
    return (language for _, language in languages if not isinstance(language, BrokenLanguage))


def _every_own() -> Iterator[tuple[str, Loaded]]:
    for name in _own_names():
        try:
            yield name, _load_own(name)
        except BrokenLanguage as error:
            yield name, error


def _every_plugin() -> Iterator[tuple[str, Loaded]]:
    own = _own_names()
    for name, plugin in sorted(_plugins().items()):
        try:
            if name in own:
                raise BrokenLanguage(name, f"{plugin.value}: the name belongs to our own")
            yield name, _load_plugin(plugin)
        except BrokenLanguage as error:
            yield name, error


def _load_own(name: str) -> "type[BaseRunner]":
    language = _load(name, lambda: importlib.import_module(f"{__name__}.{name}").Runner)
    language.name = name
    return language


def _load_plugin(plugin: "EntryPoint") -> "type[BaseRunner]":
    """The class that an entry point names, if it is what a language has to be."""
    from kernel_runner.base import BaseRunner

    language = _load(plugin.name, plugin.load)
    if not isinstance(language, type) or not issubclass(language, BaseRunner):
        raise BrokenLanguage(plugin.name, f"{plugin.value} is not a subclass of BaseRunner")
    said = [name for name in ("command", "hello") if hasattr(language, name)]
    if missing := sorted({"command", "hello", *language.__abstractmethods__} - {*said}):
        raise BrokenLanguage(plugin.name, f"{plugin.value} does not define {', '.join(missing)}")
    for name in ("aliases", "extensions"):
        if isinstance(getattr(language, name), str):
            raise BrokenLanguage(plugin.name, f"{name} of {plugin.value} has to be a tuple")
    language.name = plugin.name
    return language


def _load(name: str, load_class: "Callable[[], type[BaseRunner]]") -> "type[BaseRunner]":
    try:
        return load_class()
    except LOAD_FAULTS as error:
        raise BrokenLanguage(name, str(error) or type(error).__name__) from error


def _own_names() -> Sequence[str]:
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return [file.stem for file in files]


def _plugins() -> "dict[str, EntryPoint]":
    from importlib.metadata import entry_points  # slow, and only needed for names not our own

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
