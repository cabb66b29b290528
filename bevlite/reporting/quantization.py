"""What quantization did to a network, as text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

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


def mixed_line(floats: Collection[str], predicted_ms: float, drop: float) -> str:
    """What was chosen by measured losses.

    Args:
        floats: layers that went back to FP16.
        predicted_ms: of the network then.
        drop: the share of the accuracy that what stays in INT8 is expected to lose.
    """
    layers = "1 layer" if len(floats) == 1 else f"{len(floats)} layers"
    return (
        f"by measured losses: {layers} back to FP16, {predicted_ms:.3f} ms predicted, {drop:.2%} of the accuracy "
        "expected to be lost"
    )


def _inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")
