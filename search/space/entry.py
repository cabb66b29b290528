"""What a search file names by `package.module:name`."""

from __future__ import annotations

import importlib
from typing import Any


def entry(name: str, accepted: str) -> Any:
    """The object of that name.

    Args:
        name: `package.module:name`.
        accepted: what may stand there, for the error.

    Raises:
        ValueError: there is no such thing, or its module cannot be imported.
    """
    module, colon, kind = name.partition(":")
    if not colon:
        raise ValueError(f"found '{name}'; accepted: {accepted}")
    try:
        return getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"found '{name}' ({error}); accepted: {accepted}") from None
