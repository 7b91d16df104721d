"""A policy's name comes in; from then on a launcher puts its programs into that jail."""

from collections.abc import Callable, Mapping
from pathlib import Path

from kernel_runner import confinement, langs
from kernel_runner.errors import ConfigError
from kernel_runner.host import PROGRAMS
from kernel_runner.jail.errors import JailError
from kernel_runner.launcher import Launcher

DRIVERS = Path(langs.__file__).with_name("drivers")


def jailed(
    launcher: Launcher,
    policy: str,
    language: str,
    work_dir: Path,
    scratch: Path,
    env: Mapping[str, str],
    *folders: Path,
    tell: Callable[[str], None],
) -> dict[str, str]:
    """What programs find of `env` in that jail; they may write to these `folders`, too.

    Args:
        tell: called with a sentence about what this kernel cannot do of it.

    Raises:
        ConfigError: the policy cannot be used here.
    """
    try:
        file = confinement.locate(policy, language)
    except JailError as error:
        raise ConfigError([f"jail: {error}"]) from error
    private = [scratch / PROGRAMS, *folders]
    jail = confinement.Confinement(file, work_dir=work_dir, private=private, tools=[DRIVERS])
    if jail.warning:
        tell(jail.warning)
    launcher.confine(jail)
    return jail.environment(env)
