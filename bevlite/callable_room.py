"""A room of the library that can also be called: `bevlite.export(run)` beside `bevlite.export.run`.

Some functions of the API bear the name of a room, because that is what the command is called. An import of the room
sets the attribute of that name in the package, so the room itself has to answer a call.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class CallableRoom(ModuleType):
    """A package that passes calls on to the function of its name in `bevlite.api`; `__wrapped__` is that function."""

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, imported when it is first asked for; signatures and help are read from it."""
        function: Callable[..., Any] = getattr(importlib.import_module("bevlite.api"), self.__name__.split(".")[-1])
        return function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*arguments, **options)


def make_callable(name: str) -> None:
    """Let the package of this name, which is being imported, be called."""
    sys.modules[name].__class__ = CallableRoom
