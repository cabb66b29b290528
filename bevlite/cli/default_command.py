"""A group of commands that can be called without naming one."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class DefaultCommand(TyperGroup):
    """What is no command of the group is an argument of its first command: `latency net.onnx` predicts."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first command in front, unless another one is named."""
        commands = list(self.commands)
        if not args or args[0] not in commands:
            args = [commands[0], *args]
        return super().parse_args(ctx, args)
