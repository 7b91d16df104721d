"""A Python that starts in a batch program in; the same one, with figures that the client sees, out.

MPLBACKEND would do this too, but a program that gets it without this folder on its path fails.
"""

import os
import sys

# what importlib.machinery and importlib.util have, without the 2 ms that these take to load
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import PathFinder

BACKEND = "module://kernel_runner_driver.backend"
FOLDER = os.path.dirname(os.path.abspath(__file__))


class Finder:
    """Chooses the backend as matplotlib is imported; costs nothing before."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Part of the import system."""
        if name != "matplotlib":
            return None
        sys.meta_path.remove(Finder)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            choose_backend_after(spec.loader)
        return spec


def choose_backend_after(loader):
    execute = loader.exec_module

    def exec_module(module):
        del loader.exec_module
        execute(module)
        if "MPLBACKEND" not in os.environ and hasattr(module, "rcParams"):
            module.rcParams["backend"] = BACKEND

    loader.exec_module = exec_module


def load_the_one_behind():
    """What would have been found had this folder not been on the path."""
    spec = PathFinder.find_spec(__name__, [entry for entry in sys.path if entry != FOLDER])
    if spec is None or spec.loader is None:
        return
    module = sys.modules[__name__] = module_from_spec(spec)
    spec.loader.exec_module(module)


if "KERNEL_RUNNER_MEDIA" in os.environ:
    sys.meta_path.insert(0, Finder)
load_the_one_behind()
