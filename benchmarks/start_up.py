"""How long commands take that need neither network nor data: CPU seconds, and the ratio to an empty Python.

    python -m benchmarks.start_up [--repeat 3] [--study studies/demo]

CPU seconds (user and system, the lowest of all repetitions) hardly depend on what else the machine does; seconds by
the clock do. Limits are those of an idle machine: 0.3 s for `import bevlite`, 0.5 s for every `--help`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMPORT_S = 0.3
HELP_S = 0.5
MAIN = "import sys; sys.argv[0] = 'bevlite'; from bevlite.cli.main import main; main()"
WATCHED = ("torch", "lightning", "timm", "onnxruntime", "onnx", "nuscenes", "optuna", "plotly", "matplotlib", "numpy")


@dataclass(frozen=True)
class Row:
    """A command: what it costs, what it may cost (None: no limit), and which heavy packages it imports."""

    name: str
    cpu_s: float
    limit_s: float | None
    heavy: str


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a process and all that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy_imports(command: list[str]) -> str:
    """Which of the watched packages a process imports."""
    environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    times = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    imported = {line.rpartition("|")[2].strip() for line in times}
    return " ".join(name for name in WATCHED if name in imported)


def help_commands() -> Iterator[tuple[str, ...]]:
    """Every command of the command line."""
    from typer.main import get_command

    from bevlite.cli.main import build_app

    def paths(command: object, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        yield before
        for name, one in getattr(command, "commands", {}).items():
            yield from paths(one, (*before, name))

    yield from paths(get_command(build_app()))


def work_commands(folder: Path, study: Path | None) -> Iterator[tuple[str, ...]]:
    """Commands that do something without a network."""
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(folder / "net.onnx"))
    yield ("device", "list")
    yield ("latency", str(folder / "net.onnx"))
    if study is not None:
        for command in ("status", "best", "report"):
            yield ("search", command, str(study))


def measure(name: str, arguments: list[str], limit_s: float | None, repeat: int) -> Row:
    """One row: the lowest of `repeat` runs."""
    command = [sys.executable, "-c", *arguments]
    heavy = heavy_imports(command)  # the first run also compiles and fills caches
    return Row(name, min(cpu_seconds(command) for _ in range(repeat)), limit_s, heavy)


def main() -> int:
    """Print the table; the exit code is 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--study", type=Path, help="a study folder, to time what reads it")
    options = parser.parse_args()
    empty = measure("python -c pass", ["pass"], None, options.repeat)
    rows = [measure(f"import {name}", [f"import {name}"], IMPORT_S, options.repeat) for name in ("bevlite", "search")]
    for path in help_commands():
        words = [*path, "--help"]
        rows.append(measure(f"bevlite {' '.join(words)}", [MAIN, *words], HELP_S, options.repeat))
    with tempfile.TemporaryDirectory() as folder:
        for words in work_commands(Path(folder), options.study):
            shown = " ".join(Path(word).name if os.sep in word else word for word in words)
            rows.append(measure(f"bevlite {shown}", [MAIN, *words], None, options.repeat))
    print("| command | CPU s | x empty Python | limit s | imports |\n| --- | --: | --: | --: | --- |")
    for row in [empty, *rows]:
        limit = "" if row.limit_s is None else f"{row.limit_s:g}"
        print(f"| `{row.name}` | {row.cpu_s:.2f} | {row.cpu_s / empty.cpu_s:.1f} | {limit} | {row.heavy} |", flush=True)
    return int(any(row.limit_s is not None and row.cpu_s > row.limit_s for row in rows))


if __name__ == "__main__":
    sys.exit(main())
