"""What an import took, as text."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.reporting.analysis import aligned

Modules = Mapping[str, tuple[int, int]]
"""Parameters, and how many of them went over, by module."""
Reasons = Mapping[tuple[str, str], tuple[int, int]]
"""Tensors and parameters that did not, by module and reason."""


def import_table(ours: Modules, our_reasons: Reasons, theirs: Modules, their_reasons: Reasons) -> str:
    """Our modules with what was taken and what is missing; then what was left, and why, on either side."""
    lines = [["module", "parameters", "taken", "missing"]]
    lines += [[name, f"{total:,}", f"{used:,}", f"{total - used:,}"] for name, (total, used) in ours.items()]
    total, used = (sum(counts) for counts in zip(*ours.values(), strict=True))
    lines.append(["total", f"{total:,}", f"{used:,}", f"{total - used:,}"])
    text = [aligned(lines), ""]
    held, taken = (sum(counts) for counts in zip(*theirs.values(), strict=True))
    text.append(f"{taken:,} of {held:,} parameters of the checkpoint taken ({taken / max(1, held):.1%}), "
                f"{used:,} of {total:,} of the network filled ({used / max(1, total):.1%})")  # fmt: skip
    text += [f"left in the checkpoint: {line}" for line in _reasons(their_reasons)]
    text += [f"at its start: {line}" for line in _reasons(our_reasons)]
    return "\n".join(text)


def _reasons(reasons: Reasons) -> list[str]:
    return [
        f"{module}, {tensors} tensors, {count:,} parameters: {reason}"
        for (module, reason), (tensors, count) in reasons.items()
    ]
