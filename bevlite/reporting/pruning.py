"""What pruning took, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADS = "[heads]"
"""What the names of groups of attention heads end with."""
SIZES = (("parameters", 1e6, "M parameters"), ("macs", 1e9, "G multiply-adds"), ("predicted_ms", 1.0, "ms, predicted"))


def pruning_table(
    groups: Mapping[str, tuple[int, int]],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    device: str,
    removed: Mapping[str, float | None] | None = None,
) -> str:
    """Blocks that went, channels of what is left by part of the network, then sizes before and after.

    Args:
        groups: channels of each group before and after, by the path of its first layer; of attentions, their heads.
        before, after: `parameters`, `macs` (of one frame) and `predicted_ms` on the device.
        device: whose latency is predicted.
        removed: blocks that went, with their influence where it decided.
    """
    parts: dict[tuple[str, str], list[int]] = {}
    for path, (old, new) in groups.items():
        found = parts.setdefault((_part(path), "heads" if path.endswith(HEADS) else "channels"), [0, 0])
        found[0], found[1] = found[0] + old, found[1] + new
    width = max((len(part) for part, _ in parts), default=0)
    lines = [
        f"without {path}" + (f" (influence {influence:.4f})" if influence is not None else "")
        for path, influence in (removed or {}).items()
    ]
    lines += [
        f"{part:<{width}}  {old:>6} -> {new:>6} {unit:<8}  {(new - old) / old:+.1%}"
        for (part, unit), (old, new) in parts.items()
    ]
    for key, unit, name in SIZES:
        old, new = before[key] / unit, after[key] / unit
        lines.append(f"{old:.2f} -> {new:.2f} {name}{f' ({device})' if key == 'predicted_ms' else ''}, "
                     f"{(new - old) / old:+.1%}")  # fmt: skip
    return "\n".join(lines)


def _part(path: str) -> str:
    """The part that a layer belongs to: `camera.backbone`, `fusion_heads.heads.detection`."""
    parts = path.split(".")
    if parts[0] == "view_transform":
        return parts[0]
    return ".".join(parts[: 3 if parts[:2] == ["fusion_heads", "heads"] else 2])
