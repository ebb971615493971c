"""Programs that are done after a tenth of a second should not spend half of it on modules that they never use.

Construct and Twisted import a few large ones for the sake of others. What is postponed here is loaded when something in
it is asked for.
"""

import atexit
import gc
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def postpone(*names: str) -> None:
    """Importing these modules costs nothing from now on, until one of their attributes is looked at."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Postponed(name)
            package, _, leaf = name.rpartition(".")
            if package:
                setattr(import_module(package), leaf, sys.modules[name])


class _Postponed(ModuleType):
    """Stands in for a module, and passes on to it what is asked for. (`importlib.util.LazyLoader` does not wait that
    long: the import statement itself looks at a module's `__spec__`.)"""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def collect_seldom() -> None:
    """For programs that are over soon: looking for garbage among their modules, again and again while these are loaded
    and once more at the end, costs them a fourth of their time, and finds nothing."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
