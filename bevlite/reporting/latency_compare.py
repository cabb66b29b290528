"""Two latency reports side by side: what differs, and how far the order can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from bevlite.devices.report.latency import Interval, LatencyReport
from bevlite.reporting.latency_rows import sums_by_kind
from bevlite.reporting.latency_text import headline
from bevlite.reporting.sections import Section


@dataclass(frozen=True)
class Difference:
    """One row: a time in each network, None where a network has no such part."""

    name: str
    first_ms: float | None
    second_ms: float | None

    @property
    def difference_ms(self) -> float:
        """Second less first; a part that is not there takes no time."""
        return (self.second_ms or 0.0) - (self.first_ms or 0.0)

    @property
    def ratio(self) -> float | None:
        """Second over first, where both are there and take time."""
        return self.second_ms / self.first_ms if self.first_ms and self.second_ms is not None else None


def differences(first: Mapping[str, float], second: Mapping[str, float]) -> list[Difference]:
    """Rows of the names in either, the largest difference first."""
    names = dict.fromkeys((*first, *second))
    rows = [Difference(name, first.get(name), second.get(name)) for name in names]
    return sorted(rows, key=lambda row: -abs(row.difference_ms))


def overlap(first: LatencyReport, second: LatencyReport) -> bool:
    """Whether the intervals of the totals have a latency in common."""
    return first.lower_ms <= second.upper_ms and second.lower_ms <= first.upper_ms


@dataclass(frozen=True)
class Apart:
    """What two networks do not share: the interval of the rest of each, and the names of what is the same."""

    same: tuple[str, ...]
    first: tuple[float, float]
    second: tuple[float, float]

    @property
    def overlap(self) -> bool:
        """Whether the intervals of the two rests have a latency in common."""
        return self.first[0] <= self.second[1] and self.second[0] <= self.first[1]


def apart(first: LatencyReport, second: LatencyReport) -> Apart:
    """Leave out the modules of the same identity and the same steps: whatever they take, both networks take it."""
    parts = _parts(first), _parts(second)
    same = parts[0].keys() & parts[1].keys()
    rests = [[part for key, part in side.items() if key not in same] for side in parts]
    intervals = [(sum(p.lower_ms for p in rest), sum(p.upper_ms for p in rest)) for rest in rests]
    return Apart(tuple(part.name for key, part in parts[0].items() if key in same), intervals[0], intervals[1])


def verdict(first: LatencyReport, second: LatencyReport, names: tuple[str, str]) -> list[str]:
    """What may be said about the order of two predictions, and what may not."""
    if first.total_ms == second.total_ms:
        lines = ["Both are predicted alike: nothing says which one is faster on the board."]
    else:
        slow, fast = (names[1], names[0]) if second.total_ms > first.total_ms else names
        lines = [f"{slow} is predicted slower than {fast}, {_certainty(first, second)}"]
    lines.append(
        "Both figures come from one model, so their errors are correlated: what it gets wrong it mostly gets wrong in "
        "both, the same way. The more alike the networks, the surer their order is than the intervals say; "
        "by how much is not known."
    )
    if bool(first.pipeline) != bool(second.pipeline):
        whole = names[0] if first.pipeline else names[1]
        lines.append(f"Only {whole} counts steps around its engines (preprocessing, decoding): see the tables.")
    if first.precision != second.precision:
        lines.append(f"The precisions differ: {first.precision} and {second.precision}.")
    return lines


def _certainty(first: LatencyReport, second: LatencyReport) -> str:
    if not overlap(first, second):
        return "and the intervals do not overlap."
    rest = apart(first, second)
    if not rest.same or rest.overlap:
        return "but the intervals overlap: the order on the board is not certain."
    intervals = " and ".join(f"{low:.2f} to {high:.2f} ms" for low, high in (rest.first, rest.second))
    return (
        f"and the intervals of the totals overlap; but {', '.join(rest.same)} are the same in both, and what is left "
        f"({intervals}) does not overlap."
    )


def _parts(report: LatencyReport) -> dict[tuple[object, ...], Interval]:
    """Modules and steps by what makes them the same; a module without identity is like no other."""
    parts: dict[tuple[object, ...], Interval] = {}
    parts.update({(row.identity or id(row), row.latency_ms): row for row in report.modules})
    parts.update({(row.name, row.source, row.latency_ms): row for row in report.pipeline})
    return parts


def sections(first: LatencyReport, second: LatencyReport) -> list[Section]:
    """Modules, where both have some of the same name, and kinds of kernels; the largest differences first."""
    steps = _steps(first), _steps(second)
    modules = _modules(first), _modules(second)
    found = []
    if set(modules[0]) & set(modules[1]) and len(modules[0]) + len(modules[1]) > 2:
        rows = differences(modules[0] | steps[0], modules[1] | steps[1])
        found.append(_section("module", rows, f"Modules ({first.kind})"))
        steps = {}, {}
    kinds = _kinds(first) | steps[0], _kinds(second) | steps[1]
    return [*found, _section("kind of kernel", differences(*kinds), f"Kinds of kernels ({first.kind})")]


def total_line(first: LatencyReport, second: LatencyReport) -> str:
    """`difference B - A: +1.20 ms, B / A 1.10`."""
    total = Difference("total", first.total_ms, second.total_ms)
    ratio = "" if total.ratio is None else f", B / A {total.ratio:.2f}"
    return f"difference B - A: {total.difference_ms:+.2f} ms{ratio}"


def show_comparison(first: LatencyReport, second: LatencyReport, names: tuple[str, str], console: Console) -> None:
    """Print both totals, their difference and ratio, then modules and kinds of kernels, largest differences first."""
    labels = labels_of(names)
    for label, report in zip(labels, (first, second), strict=True):
        console.print(f"{escape(label)}: {headline(report)}", soft_wrap=True)
    console.print(f"[bold]{total_line(first, second)}[/bold]", soft_wrap=True)
    for line in verdict(first, second, labels):
        console.print(escape(line), soft_wrap=True)
    for section in sections(first, second):
        console.print(section.table())
    for note in note_lines(first, second):
        console.print(escape(note), soft_wrap=True)


def labels_of(names: tuple[str, str]) -> tuple[str, str]:
    """How the two are called in words and tables."""
    return f"A: {names[0]}", f"B: {names[1]}"


def note_lines(first: LatencyReport, second: LatencyReport) -> list[str]:
    """The notes of both; one that is of one alone says of which."""
    lines = []
    for note in dict.fromkeys(first.notes + second.notes):
        owners = "".join(letter for letter, report in zip("AB", (first, second), strict=True) if note in report.notes)
        lines.append(f"{'note' if owners == 'AB' else f'note on {owners}'}: {note}")
    return lines


def _modules(report: LatencyReport) -> dict[str, float]:
    return {row.name: row.latency_ms for row in report.modules}


def _steps(report: LatencyReport) -> dict[str, float]:
    return {row.label: row.latency_ms for row in report.pipeline}


def _kinds(report: LatencyReport) -> dict[str, float]:
    kernels = [kernel for row in report.modules for kernel in row.kernels]
    return {row.name: row.latency_ms for row in sums_by_kind(kernels)}


def _section(first_column: str, rows: Iterable[Difference], title: str) -> Section:
    listed = []
    for row in rows:
        times = ["-" if ms is None else f"{ms:.3f}" for ms in (row.first_ms, row.second_ms)]
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        listed.append((row.name, *times, f"{row.difference_ms:+.3f}", ratio))
    return Section(title, (first_column, "A ms", "B ms", "B - A", "B / A"), listed, range(1, 5))
