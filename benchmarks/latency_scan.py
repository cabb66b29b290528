"""How long a scan takes, and whether it says what the exported networks say.

    python benchmarks/latency_scan.py [SEARCH.yaml] [--count 10000] [--sample 20] [--seed 0] [--processes N]

Scans without a cache, then exports a random sample of the same variants with weights and predicts the files. Prints a
Markdown table; exits with 1 when a latency differs by more than 1 %. Everything is predicted, nothing measured.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from bevlite.devices.predicted import PredictedDevice
from bevlite.export.graph.emit import export_variant
from bevlite.export.of_variant import steps_of
from search.config import load_search
from search.latency.predicted import LatencySource
from search.scan.modules import available_cores
from search.scan.scan import scan

LIMIT = 0.01
DEFAULT = Path(__file__).resolve().parents[1] / "configs" / "searches" / "wide.yaml"


def main() -> int:
    """Print the tables; 1 where scan and export differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("search", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=available_cores())
    options = parser.parse_args()
    search = load_search(options.search, need_data=False)
    result = scan(search, options.count, options.seed, options.processes)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(u.ru_utime + u.ru_stime for u in usage)
    print("| search | variants | processes | s | CPU s | distinct modules | invalid |\n|" + " --- |" * 7)
    cells = [options.search.stem, len(result.rows), options.processes, f"{result.seconds:.1f}", f"{cpu_s:.1f}"]
    print("| " + " | ".join(map(str, [*cells, result.distinct_modules, len(result.invalid)])) + " |\n", flush=True)

    source = LatencySource(search.device, search.config.device, None)
    choice = search.config.device
    board = PredictedDevice(
        search.device,
        tensorrt=choice.tensorrt,
        power_mode=choice.power_mode,
        coefficients=choice.coefficients(),
    )
    rows = random.Random(options.seed).sample(result.rows, min(options.sample, len(result.rows)))
    largest, began = 0.0, time.monotonic()
    for row in rows:
        variant = search.space.build(search.base, row.params, "sample")
        with tempfile.TemporaryDirectory() as folder:
            files = export_variant(variant, Path(folder), source.form(source.precision(variant)))
            report = board.measure(files, steps_of(variant), source.precision(variant))
        for ours, theirs in (
            (row.latency_ms, report.total_ms),
            (row.lower_ms, report.lower_ms),
            (row.upper_ms, report.upper_ms),
        ):
            largest = max(largest, abs(ours / theirs - 1))
    seconds = time.monotonic() - began
    print("| compared with exported files | s a variant by export | largest relative difference |\n|" + " --- |" * 3)
    print(f"| {len(rows)} | {seconds / max(1, len(rows)):.1f} | {largest:.2g} |")
    return int(largest > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
