"""What TensorRT would refuse or run wrongly, by version, in few rows: nodes with the same problem share one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the room `export` stands above this one
    from bevlite.export.check.operators import OperatorFinding

WORDS = {"error": "refused", "silent_wrong": "runs wrongly", "warning": "warning"}
"""The severities of the operator check in plain words, worst first."""
_VERSION = re.compile(r" in TensorRT [\d.]+$")


@dataclass
class SupportRow:
    """One problem: the operator, the nodes that have it, and what each version would do."""

    op: str
    reason: str
    remedy: str
    nodes: set[str] = field(default_factory=set)
    verdicts: dict[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The worst verdict of any version."""
        return min(self.verdicts.values(), key=list(WORDS.values()).index)

    def versions(self, verdict: str) -> str:
        """The versions with this verdict, as text."""
        return ", ".join(version for version, found in self.verdicts.items() if found == verdict)


@dataclass(frozen=True)
class Support:
    """The rows, worst first, and the versions that were looked at."""

    versions: tuple[str, ...]
    rows: tuple[SupportRow, ...]

    @property
    def clean(self) -> tuple[str, ...]:
        """The versions that nothing known speaks against (warnings aside)."""
        bad = {v for row in self.rows for v, verdict in row.verdicts.items() if verdict != WORDS["warning"]}
        return tuple(version for version in self.versions if version not in bad)


def refusals(rows: Iterable[SupportRow], tensorrt: str) -> list[str]:
    """What a TensorRT does not take or runs wrongly, a line each; warnings are none."""
    lines = []
    for row in rows:
        if row.worst != WORDS["warning"]:
            nodes = f", {len(row.nodes)} nodes" if len(row.nodes) > 1 else ""
            verb = "does not take" if row.worst == WORDS["error"] else "runs wrongly"
            what = f"{row.op or next(iter(row.nodes)) or 'the file'}{nodes}"
            lines.append(f"TensorRT {tensorrt} {verb} {what}: {row.reason}; {row.remedy}")
    return lines


def support(findings: Mapping[str, Iterable[OperatorFinding]], versions: Iterable[str]) -> Support:
    """Gather the findings of all modules (by name) for these versions of TensorRT."""
    rows: dict[tuple[str, str, str], SupportRow] = {}
    wanted = tuple(versions)
    for module, found in findings.items():
        for finding in (f for f in found if f.version in wanted):
            # The check names the version in some reasons; here it has its own column.
            reason = _VERSION.sub("", finding.reason)
            key = (finding.op, reason, finding.remedy)
            row = rows.setdefault(key, SupportRow(*key))
            row.nodes.add(f"{module}: {finding.node}" if len(findings) > 1 else finding.node)
            row.verdicts[finding.version] = WORDS[finding.severity]
    worst_first = sorted(rows.values(), key=lambda row: list(WORDS.values()).index(row.worst))
    return Support(tuple(wanted), tuple(worst_first))
