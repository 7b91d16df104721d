"""The source of a language comes in; it is installed as a plugin, in a folder of the test's."""

from pathlib import Path

from kernel_runner import langs

PLUGIN = """
from kernel_runner import ScriptRunner

class Runner(ScriptRunner):
    aliases = ("{alias}",)
    extensions = ("{ending}",)
    command = "{tool}"
    package = "some-package"
    hello = "hello"
"""


def plugin(
    folder: Path, name: str, *, alias: str = "", ending: str = "", tool: str = "sh", text: str = ""
) -> dict[str, str]:
    """Install one as pip would; the environment that finds all that were put into the folder."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[{langs.ENTRY_POINTS}]\n{name} = module_of_{name}:Runner\n"
    )
    words = {"alias": alias or f"{name}-alias", "ending": ending or f".{name}", "tool": tool}
    (folder / f"module_of_{name}.py").write_text(text or PLUGIN.format(**words))
    return {"PYTHONPATH": str(folder)}
