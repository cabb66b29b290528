"""What quantization did to a network, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMED = 3
"""Layers that a line names before it counts the rest."""


def precision_table(int8: Iterable[str], floats: Mapping[str, str], modules: Iterable[str]) -> str:
    """Layers in INT8 by module, then those in FP16 by reason.

    Args:
        int8: paths of layers in INT8.
        floats: why other layers stay in FP16, by path.
        modules: of the network, in their order.
    """
    eight = list(int8)
    rows = [
        (name, sum(_inside(path, name) for path in eight), sum(_inside(path, name) for path in floats))
        for name in modules
    ]
    width = max((len(name) for name, *_ in rows), default=0)
    lines = [f"{name:<{width}}  {a:>4} layers in INT8, {b:>3} in FP16" for name, a, b in rows]
    by_reason: dict[str, list[str]] = {}
    for path, reason in floats.items():
        by_reason.setdefault(reason, []).append(path)
    for reason, paths in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        lines.append(f"FP16, {reason}: {', '.join(paths[:NAMED])}{more}")
    return "\n".join(lines)


def _inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
