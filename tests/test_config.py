from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from bevlite.config import Config, apply_overrides, load_config, merge, read_yaml, stable_hash, to_yaml, write_atomic
from bevlite.errors import BevliteError, ConfigError


class Inner(Config):
    width: int = 1
    mode: str = "a"


class Outer(Config):
    inner: Inner = Inner()
    sizes: tuple[int, ...] = (1, 2)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def one_line(error: pytest.ExceptionInfo[BevliteError]) -> str:
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text
    return text


def test_base_chain_merges_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "root.yaml").write_text("inner: {width: 3, mode: x}\nsizes: [7, 8, 9]\n")
    file = write(
        tmp_path, top="_base_: middle.yaml\ninner: {mode: z}\n", middle="_base_: below/root.yaml\nsizes: [4]\n"
    )
    assert read_yaml(file) == {"inner": {"width": 3, "mode": "z"}, "sizes": [4]}
    assert load_config(file, Outer) == Outer(inner=Inner(width=3, mode="z"), sizes=(4,))


def test_later_bases_win(tmp_path: Path) -> None:
    file = write(tmp_path, top="_base_: [a.yaml, b.yaml]\nz: 1\n", a="x: 1\ny: 1\n", b="y: 2\nz: 2\n")
    assert read_yaml(file) == {"x": 1, "y": 2, "z": 1}


def test_another_type_replaces_the_whole_mapping() -> None:
    base = {"part": {"type": "a", "depth": 3, "deep": {"k": 1}}}
    assert merge(base, {"part": {"type": "b"}}) == {"part": {"type": "b"}}
    assert merge(base, {"part": {"type": "a", "deep": {"m": 2}}}) == {
        "part": {"type": "a", "depth": 3, "deep": {"k": 1, "m": 2}}
    }
    assert merge(base, {"part": {"_delete_": True, "depth": 4}}) == {"part": {"depth": 4}}
    assert merge(base, {"part": None}) == {"part": None}
    assert merge({"part": None}, base) == base
    assert base == {"part": {"type": "a", "depth": 3, "deep": {"k": 1}}}  # the base is left alone


def test_overrides_are_read_as_yaml() -> None:
    data = {"a": {"b": 1, "c": 2}, "d": 3}
    assert apply_overrides(data, ["a.b=[1, 2]", "d=null", "e.f.g=1.5e-3", "h=x=y"]) == {
        "a": {"b": [1, 2], "c": 2}, "d": None, "e": {"f": {"g": 1.5e-3}}, "h": "x=y",
    }  # fmt: skip
    assert data == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize("setting", ["a.b", "=1", "a..b=1", ".a=1", "a=[1", ""])
def test_bad_overrides(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"accepted: a.b=c") as error:
        apply_overrides({}, [setting])
    assert setting in one_line(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ("'a' is given twice", "line 3")),
        ("inner:\n  width: 1\n  width: 2\n", ("'width' is given twice", "line 3")),
        ("- 1\n- 2\n", ("at the top", "a mapping of keys")),
        ("a: [1\n", ("not valid YAML",)),
        ("a: !!python/object/apply:os.getcwd []\n", ("not valid YAML",)),
        ("_base_: {a: 1}\n", ("_base_", "a file name or a list")),
        ("_base_: absent.yaml\n", ("absent.yaml", "no such file")),
        ("_base_: file.yaml\n", ("in a circle",)),
    ],
)
def test_broken_files_give_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = write(tmp_path, file=text)
    with pytest.raises(ConfigError) as error:
        read_yaml(file)
    line = one_line(error)
    assert str(tmp_path) in line
    assert all(word in line for word in words), line


def test_longer_cycle_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = write(tmp_path, a="_base_: b.yaml\n", b="_base_: c.yaml\n", c="_base_: a.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        read_yaml(file)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "bytes.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)
    # The same file twice beside each other is no circle.
    file = write(tmp_path, top="_base_: [l.yaml, r.yaml]\n", l="_base_: s.yaml\n", r="_base_: s.yaml\n", s="x: 1\n")
    assert read_yaml(file) == {"x": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inner: {wdith: 3}", ("inner.wdith", "unknown key", "did you mean 'width'", "accepted: mode, width")),
        ("inner: {width: wide}", ("inner.width", "found 'wide'", "accepted: a valid integer")),
        ("inner: 3", ("inner", "found 3", "accepted")),
        ("sizes: [1, x]", ("sizes.1", "found 'x'", "accepted")),
        ("inner: {width: a}\nsizes: x", ("inner.width", "(and 1 more)")),
    ],
)
def test_errors_name_file_key_found_accepted(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = write(tmp_path, file=text + "\n")
    with pytest.raises(ConfigError) as error:
        load_config(file, Outer)
    line = one_line(error)
    assert line.startswith(f"{file}: ")
    assert all(word in line for word in words), line


def test_stable_hash_is_of_the_content_alone() -> None:
    content = {"b": [1, 2.5, None], "a": {"y": True, "x": "é"}}
    reordered = {"a": {"x": "é", "y": True}, "b": [1, 2.5, None]}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert stable_hash(content) == stable_hash(reordered) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert stable_hash(content) != stable_hash({**content, "b": [2.5, 1, None]})
    assert stable_hash(Outer()) == stable_hash({"sizes": [1, 2], "inner": {"mode": "a", "width": 1}})
    with pytest.raises(ValueError):
        stable_hash({"a": float("nan")})


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = Outer(inner=Inner(width=5, mode="größer: #1"), sizes=(3,))
    (tmp_path / "file.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "file.yaml", Outer) == config


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().sizes = (3,)  # type: ignore[misc]


def test_write_atomic_leaves_the_old_file_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deep" / "file.txt"
    write_atomic(file, "old")
    monkeypatch.setattr("os.replace", lambda a, b: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(file, b"new")
    assert file.read_text() == "old"
    assert [p.name for p in file.parent.iterdir()] == ["file.txt"]


def test_what_a_killed_write_left_goes_with_the_next(tmp_path: Path) -> None:
    names = (".run.json.abcd1234", ".run.json.efgh5678", ".other.json.abcd1234")
    old, young, other = (tmp_path / name for name in names)
    for file in (old, young, other):
        file.write_bytes(bytes(1000))
    for file in (old, other):
        os.utime(file, (time.time() - 3600, time.time() - 3600))
    write_atomic(tmp_path / "run.json", "{}")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted((other.name, young.name, "run.json"))
