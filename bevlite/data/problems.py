"""What is wrong with a data root: one record a problem, and the collector that the checks fill."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One problem. `error`: training or evaluation would stop on it; `warning`: it would go on, perhaps wrongly.

    kind: a short word to filter by, such as `missing_file`; where: a file, or a table with a token.
    """

    severity: Severity
    kind: str
    where: str
    text: str


class Problems:
    """Collects problems; several threads may add to it."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._lock = threading.Lock()

    def error(self, kind: str, where: str, text: str) -> None:
        """Add what would stop training or evaluation."""
        self._add(Problem("error", kind, where, text))

    def warning(self, kind: str, where: str, text: str) -> None:
        """Add what would not stop it."""
        self._add(Problem("warning", kind, where, text))

    def _add(self, problem: Problem) -> None:
        with self._lock:
            self.found.append(problem)

    def sorted(self) -> list[Problem]:
        """Errors first, then by kind and place: the same order in every run."""
        return sorted(self.found, key=lambda p: (p.severity, p.kind, p.where, p.text))
