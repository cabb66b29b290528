"""How declared modules are collected."""

from __future__ import annotations

from typing import Any

from modules import ModuleSpec


class Listing:
    """Collects specs of one family after the other; an id is the family and what tells its members apart."""

    def __init__(self) -> None:
        self.specs: list[ModuleSpec] = []

    def add(
        self,
        family: str,
        builder: str,
        label: str,
        arguments: dict[str, Any],
        *,
        heavy: bool = False,
        cpu: bool = False,
        channels_last: bool = True,
        unseen: bool = False,
    ) -> None:
        """Add one; `label` tells it from others of its family, the rest is as in `ModuleSpec`."""
        key = f"{family}/{label}"
        self.specs.append(ModuleSpec(key, family, builder, arguments, heavy, cpu, channels_last, unseen))
