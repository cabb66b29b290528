"""Broken configurations give one line and nothing else, whatever they are broken by.

A few hundred a run, from a fixed seed; `BEVLITE_FUZZ=5000 BEVLITE_FUZZ_SEED=7 pytest tests/test_config_fuzz.py` tries
others.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bevlite.config import as_dict, load_config
from bevlite.errors import BevliteError
from bevlite.plain_yaml import DEEPEST, LONGEST, PlainYamlError, load_plain
from bevlite.training.recipe import Recipe, load_recipe
from bevlite.variant import load_variant
from search.config import SearchConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
COUNT = int(os.environ.get("BEVLITE_FUZZ", "150"))
SEED = int(os.environ.get("BEVLITE_FUZZ_SEED", "0"))
READ = {"variants": load_variant, "recipes": load_recipe, "searches": lambda path: load_config(path, SearchConfig)}
VALUES = (
    "null", "true", "-1", "0", "1e400", ".nan", ".inf", "-.inf", "1" + "0" * 22, "''", "[]", "{}", "2001-01-01",
    "!!python/object:os.system x", "!!binary aGk=", "!!set {a}", "[1, [2, [3]]]", "{type: 3}", "{type: x}", "'\\0'",
    '"\\ud800"', "0b_", "0x", "1_000", "12:30:45", "*gone", "&a [*a]", "? [1]", "~", "a" * 300, "é" * 90, "=", "<<",
)  # fmt: skip


BOMB = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}' if i else '1'] * 10)}]" for i in range(7))
"""Ten times ten, seven times: ten million values in a few lines."""


def broken(text: str, rng: random.Random) -> str:
    """A text with one to three things wrong: characters, lines or values."""
    for _ in range(rng.randint(1, 3)):
        lines = text.split("\n")
        place = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(list("{}[]:,&*#?|-<>=!%@`'\"\t\0\x07\u2028 ")) + text[at:]
            continue
        if kind == 1:
            at = rng.randrange(max(1, len(text)))
            text = text[:at] + text[at + rng.randint(1, 12) :]
            continue
        if kind == 2:
            lines.insert(place, lines[rng.randrange(len(lines))])
        elif kind == 3:
            lines[place] = " " * rng.randint(0, 5) + lines[place].lstrip()
        elif kind == 4 and ":" in lines[place]:
            lines[place] = lines[place].split(":", 1)[0] + ": " + rng.choice(VALUES)
        elif kind == 5:
            lines[place] = rng.choice((*VALUES, "custom_imports", "_base_")) + ": " + rng.choice(VALUES)
        else:
            lines[place] = lines[place].replace(",", rng.choice((",,", ":", "")), 1)
        text = "\n".join(lines)
    return text


@pytest.mark.parametrize("folder", sorted(READ))
def test_broken_files_end_in_one_line(tmp_path: Path, folder: str) -> None:
    rng = random.Random(SEED)
    shutil.copytree(CONFIGS, tmp_path / "configs")  # files name others beside them
    beside = tmp_path / "configs" / folder
    files = sorted(beside.glob("*.yaml"))
    refused = 0
    for number in range(COUNT):
        source = files[number % len(files)]
        text = broken(source.read_text(), rng)
        file = beside / "broken.yaml"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            READ[folder](file)
        except BevliteError as error:
            refused += 1
            said = str(error)
            assert "\n" not in said and len(said) < 8 * LONGEST, (number, said[:2000])
        except Exception as error:
            where = f"seed {SEED}, file {number} of {folder}: {type(error).__name__}: {error}"
            raise AssertionError(where + chr(10) + text) from error
    assert COUNT / 4 < refused < COUNT  # most of them are broken, not all


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [1, 2]\nb: *a\nc: *b2", "undefined alias"),
        ("bev: &a {x: *a}", r"\*a inside of itself"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "more than 64 levels"),
        (
            "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}' if i else '1'] * 10)}]" for i in range(7)),
            "more than 100000",
        ),
        ("? [1, 2]\n: 3", "key a list or mapping: found no text"),
        ("1: a", "key 1: found no text"),
        ("null: a", "key null: found no text"),
        ("a: 1\na: 2", "'a' is given twice, the second time in line 2"),
        ("a: !!timestamp x", "the tag !!timestamp"),
        ("a: !!python/name:os.system x", "the tag !!python/name:os.system"),
        ("a: " + "9" * 5000, "Exceeds the limit|integer string conversion"),
        ("x" * 2_000_000, "found 2000000 characters"),
    ],
)
def test_what_is_no_plain_yaml(text: str, said: str) -> None:
    with pytest.raises(PlainYamlError, match=said) as caught:
        load_plain(text)
    assert len(str(caught.value)) < 2 * LONGEST and str(caught.value).isprintable()


def test_what_is_plain_is_read_as_ever() -> None:
    """Against PyYAML's own safe loader; dates stay text, where it makes objects."""
    for file in sorted(CONFIGS.rglob("*.yaml")):
        assert load_plain(file.read_text()) == yaml.safe_load(file.read_text())
    found: Any = load_plain("when: 2001-01-01\nshared: &a [1, {b: 2.5}]\nagain: *a\nnone: ~\n")
    assert found == {"when": "2001-01-01", "shared": [1, {"b": 2.5}], "again": [1, {"b": 2.5}], "none": None}


def test_every_recipe_comes_back_from_its_text(tmp_path: Path) -> None:
    for file in sorted((CONFIGS / "recipes").glob("*.yaml")):
        recipe = load_recipe(file)
        copy = tmp_path / file.name
        copy.write_text(yaml.safe_dump(as_dict(recipe)))
        assert load_config(copy, Recipe) == recipe
