"""Which commit of BEVLite this is, and when it is none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevlite import source_tree


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    source_tree.source_commit.cache_clear()
    yield
    source_tree.source_commit.cache_clear()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, with the package at its top."""
    (tmp_path / "bevlite").mkdir()
    (tmp_path / "file").write_text("1")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(source_tree, "__file__", str(tmp_path / "bevlite" / "source_tree.py"))
    return tmp_path


def test_a_source_tree_has_its_commit_and_says_whether_files_differ(repository: Path) -> None:
    done = subprocess.run(["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert source_tree.source_commit() == done.stdout.strip()
    (repository / "file").write_text("2")
    source_tree.source_commit.cache_clear()
    assert source_tree.source_commit() == f"{done.stdout.strip()}-dirty"


def test_a_copy_inside_another_repository_has_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an environment that lies in the repository of something else."""
    inside = repository / "lib" / "bevlite"
    inside.mkdir(parents=True)
    monkeypatch.setattr(source_tree, "__file__", str(inside / "source_tree.py"))
    assert source_tree.source_commit() is None
