"""A training on two devices is a program of its own: its caller goes on alone, and its ranks end with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bevlite.config import to_yaml
from bevlite.data.config import DataConfig
from bevlite.data.index import load_index
from bevlite.errors import BevliteError, DataError, TrainingError
from bevlite.training.loop import train
from bevlite.training.ranks import fault_of
from tests.search.waiting import wait_until
from tests.tiny import lidar_only, short_recipe

PROGRAM = """
import sys
from pathlib import Path
from bevlite.data.config import load_data_config
from bevlite.training.loop import train
from bevlite.training.recipe import Recipe
from bevlite.variant import load_variant
folder = Path(sys.argv[1])
(folder / "begun").open("a").write("x")
recipe = Recipe(epochs=500, warmup_steps=0, workers=0)
train(load_variant(folder / "variant.yaml"), load_data_config(sys.argv[2]), recipe,
      folder / "run", devices=2, progress=False)
"""


@pytest.mark.slow
def test_two_devices_learn_one_network_and_say_what_is_wrong(world: DataConfig, tmp_path: Path) -> None:
    variant, recipe = lidar_only(), short_recipe(epochs=2)
    run = train(variant, world, recipe, tmp_path / "run", devices=2, progress=False)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and run.stages == ("float",)
    assert lines[-1]["step"] == 2 * max(1, len(load_index(world).rows_of_split(str(world.train_split))) // 2 // 2)
    weights = run.weights(variant, "float")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    with pytest.raises(TrainingError, match="holds a run already; accepted: --resume auto, or a new folder"):
        train(variant, world, recipe, tmp_path / "run", devices=2, progress=False)


@pytest.mark.slow
def test_ranks_end_with_who_asked_for_them(world: DataConfig, tmp_path: Path) -> None:
    """Killed without a word; and the program that asked was run once, not once a rank."""
    (tmp_path / "variant.yaml").write_text(to_yaml(lidar_only()))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path), str(world.root)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        wait_until((tmp_path / "run" / "metrics.jsonl").is_file, process)
        assert len(_ranks()) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: not _ranks())
    assert (tmp_path / "begun").read_text() == "x"


def test_a_fault_of_a_rank_keeps_its_kind(tmp_path: Path) -> None:
    (tmp_path / "fault.json").write_text(json.dumps({"kind": "DataError", "text": "no such sample"}))
    found = fault_of(tmp_path / "fault.json", 2, 2)
    assert type(found) is DataError and str(found) == "no such sample"
    (tmp_path / "fault.json").write_text(json.dumps({"kind": "", "text": "OutOfMemoryError: CUDA out of memory"}))
    unexpected = fault_of(tmp_path / "fault.json", 1, 2)  # as one process would have raised it
    assert type(unexpected) is RuntimeError and "out of memory" in str(unexpected)


def test_what_ends_without_a_word_is_said(world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BevliteError, match="training on 2 devices: a process ended with 1; accepted: the same command"):
        train(lidar_only(), world, short_recipe(epochs=1), tmp_path / "run", devices=2)


def _ranks() -> list[str]:
    """Ranks of any training on this machine; no other test beside this one starts some."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"bevlite.training.rank" in words:
            found.append(entry.name)
    return found
