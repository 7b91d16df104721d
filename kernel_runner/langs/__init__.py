"""Languages by name: one file each in this folder, and those that plugins bring.

A file in this folder whose name does not begin with an underscore is a language.  Elsewhere the
entry point group `kernel_runner.langs` names a `BaseRunner` subclass for each.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner.errors import BrokenLanguage, UnknownLanguage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from kernel_runner.base import BaseRunner

ENTRY_POINTS: Final = "kernel_runner.langs"


def names() -> Sequence[str]:
    """All languages, sorted."""
    return sorted({*_own_names(), *_plugins()})


def load(name: str) -> "type[BaseRunner]":
    """The class of a language, by its name or an alias.

    Raises:
        UnknownLanguage: nobody has it.
        BrokenLanguage: its file has a fault.
    """
    if name in _own_names():
        return _load_own(name)
    if (plugin := _plugins().get(name)) is not None:
        return _loaded(name, plugin.load)
    for own in _own_names():
        if name in (language := _load_own(own)).aliases:
            return language
    raise UnknownLanguage(name, names())


def _load_own(name: str) -> "type[BaseRunner]":
    return _loaded(name, lambda: importlib.import_module(f"{__name__}.{name}").Runner)


def _loaded(name: str, load_class: "Callable[[], type[BaseRunner]]") -> "type[BaseRunner]":
    try:
        language = load_class()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise BrokenLanguage(name, str(error)) from error
    language.name = name
    return language


def _own_names() -> Sequence[str]:
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return [file.stem for file in files]


def _plugins() -> "dict[str, EntryPoint]":
    from importlib.metadata import entry_points  # slow, and only needed for names not our own

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
