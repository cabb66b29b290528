"""All networks of a small space, trained and scored after every epoch: what searches are replayed on.

    python benchmarks/search_table.py OUT world
    python benchmarks/search_table.py OUT train SPACE [--processes 32] [--gpus 4] [--again 100]
    python benchmarks/search_table.py OUT table SPACE FILE      # no GPU; latencies predicted here

SPACE is a search file of `benchmarks/search_spaces`. Each network is trained by its recipe, `--again` of them, drawn
once, with a second seed of training as well. Every training writes its line to `OUT/<space>.jsonl` when it ends: a run
that was stopped goes on behind the last one, and an unfinished training starts anew. FILE is a CSV of a line a
training: what was chosen, predicted latency in ms with its interval, seed, and the figure after each epoch.

`benchmarks/data/search_table_first.jsonl` holds what has been trained of the first space so far: 390 of 532 trainings,
all with seed 0, on four H200 (60 processes on 64 cores, 2026-11-28). Copied to `OUT/first.jsonl` it is gone on with.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bevlite.evaluation.run import evaluate_run
from bevlite.simulation.world.generate import generate_world
from bevlite.training.loop import train
from search.config import ResolvedSearch, load_search
from search.scan.modules import available_cores
from search.scan.scan import scan
from search.space.space import Params

WORLD: dict[str, Any] = {"scenes": 32, "val_scenes": 4, "samples": 8, "sweeps": 3, "image_scale": 0.25}
FIGURE = "NDS"


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("step", choices=("world", "train", "table"))
    parser.add_argument("space", nargs="?", type=Path, help="a search file")
    parser.add_argument("file", nargs="?", type=Path, help="the CSV of `table`")
    parser.add_argument("--processes", type=int, default=available_cores())
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count())
    parser.add_argument("--again", type=int, default=100, help="networks that are trained with a second seed")
    options = parser.parse_args()
    out: Path = options.out
    if options.step == "world":
        out.mkdir(parents=True, exist_ok=True)
        print(generate_world(out / "world", **WORLD))
        return
    if options.space is None or (options.step == "table" and options.file is None):
        parser.error(f"{options.step}: space or file missing; accepted: a search file (and a CSV to write)")
    search = load_search(options.space, data=str(out / "world"))
    lines = out / f"{options.space.stem}.jsonl"
    if options.step == "train":
        fill(search, lines, options.processes, options.gpus, options.again)
    else:
        write_table(search, lines, options.file)


def fill(search: ResolvedSearch, lines: Path, processes: int, gpus: int, again: int) -> None:
    """Train whatever has no line yet, many at once."""
    every = list(search.space.combinations() or ())
    second = np.random.default_rng(0).permutation(len(every))[:again]
    wanted = [(number, 0) for number in range(len(every))] + [(int(number), 1) for number in second]
    done = {(line["number"], line["seed"]) for line in read(lines)}
    left = [one for one in wanted if one not in done]
    # In random order: networks that are large come one after the other in the space.
    order = np.random.default_rng(1).permutation(len(left))
    left = sorted((left[i] for i in order), key=lambda one: one[1])
    context = multiprocessing.get_context("spawn")
    places = context.Queue()
    for place in range(processes):
        places.put(place)
    began = time.monotonic()
    start = (search, lines.parent / "runs", places, gpus)
    with context.Pool(processes, initializer=_start, initargs=start) as pool:
        for ended, line in enumerate(pool.imap_unordered(_train, [(n, s, every[n]) for n, s in left]), 1):
            with lines.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
            curve = " ".join(f"{value:.3f}" for value in line["curve"])
            print(
                f"{ended}/{len(left)}  {time.monotonic() - began:.0f} s  network {line['number']} seed {line['seed']}: "
                f"{curve}  ({line['seconds']:.0f} s)",
                flush=True,
            )


_SEARCH: ResolvedSearch
_RUNS: Path


def _start(search: ResolvedSearch, runs: Path, places: Any, gpus: int) -> None:
    """A process of its own, on one core and one GPU."""
    global _SEARCH, _RUNS
    _SEARCH, _RUNS = search, runs
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(places.get() % gpus)
    torch.set_num_threads(1)


def _train(work: tuple[int, int, Params]) -> dict[str, Any]:
    number, seed, params = work
    began = time.monotonic()
    variant = _SEARCH.space.build(_SEARCH.base, params, f"network-{number}")
    recipe = _SEARCH.recipe.model_copy(update={"seed": seed})
    run = _RUNS / f"{number}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    curve = []
    for epoch in range(1, recipe.epochs + 1):
        train(variant, _SEARCH.data, recipe, run, resume=True, stop_after_epoch=epoch, progress=False)
        curve.append(round(float(evaluate_run(run, draws=0, workers=0)[FIGURE]), 5))
    shutil.rmtree(run)
    return {"number": number, "seed": seed, "curve": curve, "seconds": round(time.monotonic() - began, 1)}


def read(lines: Path) -> Iterator[dict[str, Any]]:
    """What has been trained; a line that a kill cut off is none."""
    if not lines.is_file():
        return
    for line in lines.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def write_table(search: ResolvedSearch, lines: Path, file: Path) -> None:
    """The CSV, with latencies predicted for the board of the search."""
    every = list(search.space.combinations() or ())
    scanned = {_key(row.params): row for row in scan(search, len(every), processes=available_cores()).rows}
    names = list(search.space.choices)
    with file.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        epochs = [f"epoch {i}" for i in range(1, search.recipe.epochs + 1)]
        table.writerow([*names, "latency_ms", "lower_ms", "upper_ms", "seed", *epochs])
        for line in sorted(read(lines), key=lambda line: (line["number"], line["seed"])):
            params = every[line["number"]]
            row = scanned[_key(params)]
            ms = [f"{value:.4f}" for value in (row.latency_ms, row.lower_ms, row.upper_ms)]
            table.writerow([*(json.dumps(params[n]) if n in params else "" for n in names), *ms, line["seed"]]
                           + line["curve"])  # fmt: skip


def _key(params: Params) -> str:
    return json.dumps(params, sort_keys=True)


if __name__ == "__main__":
    main()
