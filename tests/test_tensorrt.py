"""What the versions of TensorRT can do, and that one file alone says so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bevlite.errors import BevliteError
from bevlite.tensorrt import (
    LATER,
    TENSORRT_8,
    VERSIONS,
    dla_divides,
    fuses_attention,
    fuses_gemm_epilogues,
    has_dla,
    has_new_dla,
    is_oldest,
    is_strongly_typed,
    oldest_first,
    parse_version,
    version_key,
    without_patch,
)

ROOT = Path(__file__).resolve().parent.parent
ALONE = ("bevlite/agent", "bevlite/simulation")
"""They stand alone: the one is copied to the board, the other must not share what is tested against it."""


def test_a_version_is_read() -> None:
    assert [parse_version(text) for text in ("8.5.2", "10.3", "11", "10.16.2.1")] == [
        (8, 5),
        (10, 3),
        (11, 0),
        (10, 16),
    ]
    assert [without_patch(text) for text in ("8.5.2", "10.3", "11")] == ["8.5", "10.3", "11"]
    for text in ("", "ten", "10.x", "10.3.0.1.2", "-1"):
        with pytest.raises(BevliteError, match=f"--tensorrt: found '{text}'; accepted: "):
            parse_version(text)


@pytest.mark.parametrize(
    ("text", "nearest"), [("9.0", "8.6 or 10.3"), ("8.7", "8.6 or 10.3"), ("10.17", "10.16 or 11.1"), ("12.0", "11.4")]
)
def test_a_version_that_there_is_not_is_refused_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(BevliteError, match=f"--tensorrt: found {text}, which there is not; accepted: {nearest}$"):
        parse_version(text)


def test_versions_in_order() -> None:
    assert (*TENSORRT_8, *LATER) == VERSIONS and [is_oldest(v) for v in VERSIONS] == [True] + [False] * len(
        VERSIONS[1:]
    )
    found = oldest_first({"a": "10.16.2", "b": "8.6.2", "c": "10.3.0"})
    assert list(found) == ["b", "c", "a"]
    assert [version_key(text) for text in ("8.5.2", "10.0", "10.15", "11", "11.1", "11.3")] == [
        "8.5", "10.3", "10.3", "11.4", "11.1", "11.4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("knows", "since"),
    [(fuses_attention, "8.6"), (fuses_gemm_epilogues, "10.0"), (dla_divides, "10.0"), (is_strongly_typed, "11.0"),
     (has_new_dla, "11.4")],
)  # fmt: skip
def test_what_came_with_a_version(knows, since: str) -> None:  # type: ignore[no-untyped-def]
    texts = ("7.2", "8.5", "8.6", "10.0", "10.7", "10.8", "10.16", "11.0", "11.1", "11.3", "11.4", "11.5")
    assert [text for text in texts if knows(parse_version(text))] == list(texts[texts.index(since) :])


def test_the_dla_came_went_and_came_back() -> None:
    texts = ("7.2", "8.0", "8.6", "10.7", "10.8", "10.16", "11.1", "11.3", "11.4")
    assert [text for text in texts if has_dla(parse_version(text))] == ["8.0", "8.6", "10.7", "11.4"]


def _compares_versions(file: Path) -> list[int]:
    """Lines where a comparison has a pair of whole numbers, or the text of a version, on one side."""

    def is_version(node: ast.expr) -> bool:
        if isinstance(node, ast.Tuple):
            return len(node.elts) == 2 and all(isinstance(e, ast.Constant) and type(e.value) is int for e in node.elts)
        return isinstance(node, ast.Constant) and node.value in VERSIONS

    tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [n.lineno for n in tree if isinstance(n, ast.Compare) and any(map(is_version, (n.left, *n.comparators)))]


def test_nobody_else_compares_versions(tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text("a = v >= (10, 3)\nb = v == '8.5'\nc = v < 3\n")
    assert _compares_versions(probe) == [1, 2]
    assert _compares_versions(ROOT / "bevlite" / "tensorrt.py")
    files = [f for top in ("bevlite", "search") for f in sorted((ROOT / top).rglob("*.py"))]
    assert len(files) > 80
    names = {str(f.relative_to(ROOT)): f for f in files}
    guilty = {n: lines for n, f in names.items() if not n.startswith(ALONE) and (lines := _compares_versions(f))}
    assert list(guilty) == ["bevlite/tensorrt.py"]
