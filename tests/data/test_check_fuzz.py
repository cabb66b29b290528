"""Mutated data roots: one line each, and what `data check` passes, training can read. `BEVLITE_FUZZ` says how many."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.data.check import check_root
from bevlite.data.config import DataConfig, load_data_config
from bevlite.data.index import load_index
from bevlite.data.raw_tables import FIELDS
from bevlite.errors import BevliteError
from bevlite.models.samples import dataset_of
from tests.tiny import tiny

COUNT = int(os.environ.get("BEVLITE_FUZZ", "60"))
SEED = int(os.environ.get("BEVLITE_FUZZ_SEED", "0"))
ODD: tuple[Any, ...] = (
    None, "", "x" * 300, "a/../../b", "\0", [], {}, [1, 2], ["a"], -1, 0, 1e300, float("nan"), float("inf"), True,
    10**30, "2018", [[1]], {"a": 1},
)  # fmt: skip
Mutation = Callable[[random.Random, Path, str], None]


def rows_of(file: Path) -> list[Any]:
    content = json.loads(file.read_text())
    assert isinstance(content, list)
    return content


def a_field(rng: random.Random, root: Path, table: str) -> None:
    file = root / f"{table}.json"
    rows = rows_of(file)
    if rows:
        row = rng.choice(rows)
        row[rng.choice(sorted(row))] = copy.deepcopy(rng.choice(ODD))
    file.write_text(json.dumps(rows))


def a_field_of_all(rng: random.Random, root: Path, table: str) -> None:
    file = root / f"{table}.json"
    rows = rows_of(file)
    field, value = rng.choice(sorted(rows[0])), rng.choice(ODD)
    file.write_text(json.dumps([{**row, field: value} for row in rows]))


def a_field_less(rng: random.Random, root: Path, table: str) -> None:
    file = root / f"{table}.json"
    rows = rows_of(file)
    rng.choice(rows).pop(rng.choice(FIELDS[table]), None)
    file.write_text(json.dumps(rows))


def rows_less(rng: random.Random, root: Path, table: str) -> None:
    file = root / f"{table}.json"
    rows = rows_of(file)
    file.write_text(json.dumps(rng.choice([[], rows[: len(rows) // 2], rows[1:], rows + rows[:1], rows[::-1]])))


def other_bytes(rng: random.Random, root: Path, table: str) -> None:
    file = root / f"{table}.json"
    data = file.read_bytes()
    choices = [data[: len(data) // 2], b"", b"null", b"{}", b"[" * 5000, data.decode().encode("utf-16"), b"\xff" + data]
    file.write_bytes(rng.choice(choices))


def no_table(rng: random.Random, root: Path, table: str) -> None:
    (root / f"{table}.json").unlink()


def splits(rng: random.Random, root: Path, table: str) -> None:
    names = [row["name"] for row in rows_of(root / "scene.json")]
    content: Any = rng.choice([[], {"a": 1}, {"my_train": names}, {"my_train": ["no"]}, {"my_val": names[:1]}, {}, "x"])
    (root / "splits.json").write_text(json.dumps(content))


def a_file(rng: random.Random, root: Path, table: str) -> None:
    file = rng.choice(sorted(p for p in root.parent.glob("samples/*/*") if p.is_file()))
    data = file.read_bytes()
    file.write_bytes(rng.choice([b"", data[: len(data) // 3], data[:-1], b"\0" * 64, data + b"x"]))


def labels(rng: random.Random, root: Path, table: str) -> None:
    files = sorted(root.parent.glob("gts/*/*/labels.npz"))
    if files:
        data = rng.choice(files).read_bytes()
        rng.choice(files).write_bytes(rng.choice([b"", data[: len(data) // 2], b"PK\3\4" + data[:20], data[:-7]]))


MUTATIONS: tuple[Mutation, ...] = (
    a_field, a_field, a_field, a_field_of_all, a_field_less, rows_less, other_bytes, no_table, splits, a_file, labels,
)  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bevlite.simulation.world.generate import generate_world

    root = tmp_path_factory.mktemp("fuzz") / "world"
    generate_world(root, scenes=2, val_scenes=1, samples=2, sweeps=2, image_scale=0.1)
    return root


def read_all(root: Path) -> None:
    """What training reads: every sample of both splits, with its truth."""
    data: DataConfig = load_data_config(root)
    index = load_index(data)
    for split in (data.train_split, data.val_split):
        rows = index.rows_of_split(str(split))
        dataset = dataset_of(tiny(), data.root, index, np.asarray(rows))
        dataset.collate([dataset[row] for row in range(len(rows))])


def test_what_is_sound_passes(sound: Path) -> None:
    assert check_root(sound).errors == 0
    read_all(sound)


@pytest.mark.parametrize("part", range(4))
def test_mutated_roots(sound: Path, tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVLITE_CACHE", str(tmp_path / "cache"))
    passed = refused = 0
    for number in range(part, COUNT, 4):
        rng = random.Random(SEED * 100_003 + number)
        root = tmp_path / f"r{number}"
        shutil.copytree(sound, root)
        tables = next(path.parent for path in root.glob("*/scene.json"))
        what, table = rng.choice(MUTATIONS), rng.choice(sorted(FIELDS))
        what(rng, tables, table)
        said = f"seed {SEED}, root {number}: {what.__name__} {table}"
        try:
            errors = check_root(root).errors
        except BevliteError:
            errors = 1
        except Exception as error:
            pytest.fail(f"{said}: data check raised {error!r}")
        try:
            read_all(root)
            passed += 1
        except BevliteError as error:
            refused += 1
            assert errors, f"{said}: passes the check, and then: {error}"
            assert len(str(error)) < 1000 and "\n" not in str(error), said
        except Exception as error:
            pytest.fail(f"{said}: reading raised {error!r}")
        shutil.rmtree(root)
    assert passed + refused == len(range(part, COUNT, 4)) and refused
