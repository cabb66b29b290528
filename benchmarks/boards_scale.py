"""Many workers on one study share a few boards: is a result lost, doubled or mixed up, and do the boards stand idle?

Eight workers, PostgreSQL, two emulated boards, 200 measurements of at least 3 s:

    python -m benchmarks.boards_scale --out benchmarks/results/boards_scale_2026-11-21.md

Everything between worker and board is what a search does: export, ssh, agent, lease, log. The boards are emulated and
nothing is trained, so the latencies say nothing; what counts is who had which board when. That comes from the log of
leases on each board, and from what the workers wrote into the study's log.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.postgresql import find_programs, serve
from bevlite.config import to_yaml, write_atomic
from bevlite.devices.files import FOLDER_VARIABLE
from bevlite.devices.settings import DeviceFile
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant, load_variant
from search.config import ResolvedSearch, load_search
from search.latency.boards import BoardLatency
from search.latency.log import LOG, Entry, MeasurementLog
from search.space.space import Params
from search.study.backend import Parent, Scanned
from search.study.records import TrialRecord
from search.study.store import open_for_reading, records_of
from search.study.study import Study
from search.study.workers import run_workers
from search.terminal import make_console, speaker

ROOT = Path(__file__).resolve().parents[1]
IDLE_S = 2.0
"""As the protocol has it: what makes a measurement last, together with the programs that run on the board."""
PROTOCOL = {"duration_s": 1.0, "most_queries": 250, "repetitions": 1, "idle_s": IDLE_S, "cool_s": 0.05}
Span = tuple[float, float]


class Untrained:
    """A backend whose latencies come from boards and whose accuracy is a formula."""

    def __init__(self, search: ResolvedSearch, folder: Path) -> None:
        self._boards = BoardLatency(search.device, search.config.device, search.data, folder / "latency")

    def latency(self, variant: Variant) -> Any:
        return self._boards(variant)

    def check(self, variant: Variant) -> None:
        """Nobody is asked: what counts is who had which board when."""

    def whole(self, variant: Variant) -> Any:
        return self._boards.whole(variant)

    def parameters(self, variant: Variant) -> int:
        return 1000 * variant.fusion.channels

    def scan(
        self, search: ResolvedSearch, most: int, among: Sequence[Params] | None = None
    ) -> tuple[list[Scanned], int]:
        """All may fit: latencies come from the boards."""
        return [Scanned(params, 10.0, 5.0, 20.0) for params in search.space.combinations() or ()][:most], 0

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        write_atomic(run / "variant.yaml", to_yaml(variant))

    def quantize(self, variant: Variant, trained: Path, run: Path) -> None:
        write_atomic(run / "variant.yaml", to_yaml(variant))

    def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
        variant = load_variant(run / "variant.yaml")
        return {"split": "none", "samples": 1, "NDS": 1 / (1 + variant.fusion.channels)}

    def export(self, run: Path) -> None:
        return None


@dataclass(frozen=True)
class Scale:
    """What came out. Times in s; `busy` is each board's share of the time in which a worker waited for one."""

    records: list[TrialRecord]
    entries: list[Entry]
    leases: dict[str, list[tuple[str, Span]]]
    busy: dict[str, float]
    waited_s: list[float]
    wall_s: float

    @property
    def held_s(self) -> list[float]:
        """How long each lease was held, shortest first."""
        return sorted(end - begin for spans in self.leases.values() for _, (begin, end) in spans)

    def rows(self) -> Iterator[tuple[str, str]]:
        """For a table."""
        yield "workers that measured", str(len({entry.worker for entry in self.entries}))
        yield "measurements", str(len(self.entries))
        yield "trials, all of them ended", str(len(self.records))
        yield "measurements made twice", str(len(self.entries) - len({e.identity for e in self.entries}))
        for name, spans in self.leases.items():
            yield f"measurements on board {name}", str(sum(e.report.device == name for e in self.entries))
            yield f"leases of board {name}", str(len(spans))
            yield f"board {name} busy while work waited", f"{self.busy[name]:.1%}"
        held = self.held_s
        yield (
            "lease held, shortest / median / longest",
            f"{held[0]:.1f} / {held[len(held) // 2]:.1f} / {held[-1]:.1f} s",
        )
        waits = sorted(self.waited_s)
        yield "waited for a board, median / longest", f"{waits[len(waits) // 2]:.1f} / {waits[-1]:.1f} s"
        yield "from the first lease to the last", f"{self.wall_s:.0f} s"


def run_scale(folder: Path, measurements: int, workers: int, boards: int, storage: str, log: bool = False) -> Scale:
    """Run a study of about so many measurements in an empty folder; device files are written into it."""
    with ExitStack() as stack:
        names = [f"board-{index + 1}" for index in range(boards)]
        homes: dict[str, Path] = {}
        for index, name in enumerate(names):
            board = EmulatedBoard.create(folder / name, tensorrt="10.3.0", seed=index, time_scale=0.001)
            server = stack.enter_context(board.serve())
            homes[name] = server.root
            settings = {
                "type": "orin",
                "ssh": server.host_alias,
                "ssh_config": str(server.ssh_config),
                "sudo": "passwordless",
                "protocol": PROTOCOL,
            }
            device = DeviceFile.model_validate({"device": settings})
            write_atomic(folder / "devices" / f"{name}.yaml", to_yaml(device))
        search = _search(folder, names, measurements, storage)
        before = os.environ.get(FOLDER_VARIABLE)
        os.environ[FOLDER_VARIABLE] = str(folder / "devices")
        try:
            out = folder / "study"
            say = speaker(make_console()) if log else lambda text: None
            study = Study(search, out, Untrained(search, out), say)
            run_workers(study, workers, 1, say)
        finally:
            if before is None:
                del os.environ[FOLDER_VARIABLE]
            else:
                os.environ[FOLDER_VARIABLE] = before
        leases = {name: list(_leases(home)) for name, home in homes.items()}
    records = records_of(open_for_reading(out, storage), search.config.fidelity.epochs)
    return _figures(records, MeasurementLog(out / "latency" / LOG).entries, leases)


def _search(folder: Path, boards: Sequence[str], measurements: int, storage: str) -> ResolvedSearch:
    """Small networks that all differ in what follows the LiDAR module: one new measurement a trial."""
    tables = folder / "data" / "v1.0-mini"
    tables.mkdir(parents=True)
    for table in ("sample", "scene"):
        (tables / f"{table}.json").write_text("[]")
    content = {
        "base": str(ROOT / "configs" / "variants" / "demo.yaml"),
        "space": {
            "camera": {"choices": {"none": {"camera": None}}},
            "fusion.channels": {"low": 8, "high": 72, "step": 8},
            "heads.detection.channels": {"low": 8, "high": 72, "step": 8},
            "bev_encoder.out_channels": {"low": 8, "high": 72, "step": 8},
        },
        "constraints": {"budget_ms": 1000},
        "recipe": {"epochs": 1},
        "fidelity": {"rungs": [1]},
        "device": {"boards": list(boards)},
        "data": {"root": str(folder / "data")},
        "trials": measurements,
        "sampler": "random",
        "storage": storage,
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_search(folder / "search.yaml")


def _leases(root: Path) -> Iterator[tuple[str, Span]]:
    """Owner, begin and end of every lease in a board's log."""
    (file,) = root.glob("home/*/.bevlite/leases.jsonl")
    open_since: dict[str, float] = {}
    for line in file.read_text().splitlines():
        row = json.loads(line)
        if row["event"] == "taken":
            open_since.setdefault(row["owner"], row["at"])
        elif row["owner"] in open_since:
            yield row["owner"], (open_since.pop(row["owner"]), row["at"])


def _figures(records: list[TrialRecord], entries: list[Entry], leases: dict[str, list[tuple[str, Span]]]) -> Scale:
    waits = [wait for entry in entries if (wait := _wait(entry, leases)) is not None]
    spans = [span for board in leases.values() for _, span in board]
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    waiting = _union([(max(first, begin), end) for begin, end in waits if end > first])
    total = sum(end - begin for begin, end in waiting)
    busy = {
        name: sum(_overlap(wait, span) for wait in waiting for _, span in board) / total
        for name, board in leases.items()
    }
    return Scale(records, entries, leases, busy, [end - begin for begin, end in waits], last - first)


def _wait(entry: Entry, leases: dict[str, list[tuple[str, Span]]]) -> Span | None:
    """From when a worker asked for a board until it had the one that measured."""
    board = leases[entry.report.device]
    ended = entry.began + entry.seconds
    taken = [b for owner, (b, _) in board if owner.startswith(entry.worker + ":") and entry.began <= b <= ended]
    return (entry.began, taken[-1]) if taken else None


def _union(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _overlap(a: Span, b: Span) -> float:
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--boards", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    programs = find_programs()
    if programs is None:
        raise SystemExit("needs PostgreSQL (Debian: postgresql)")
    with tempfile.TemporaryDirectory() as folder, serve(programs) as url:
        found = run_scale(Path(folder), options.measurements, options.workers, options.boards, url, log=True)
    head = (
        f"{options.workers} workers, one study in PostgreSQL, {options.boards} emulated boards, {os.cpu_count()} cores"
    )
    lines = [
        f"# Workers that share boards ({time.strftime('%Y-%m-%d')})",
        "",
        head,
        "",
        "| what | found |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in found.rows()]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        write_atomic(options.out, text)


if __name__ == "__main__":
    main()
