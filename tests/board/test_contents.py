"""A package on disk: what is missing, changed or one too many is named in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bevlite.agent.fault import Fault
from bevlite.board.contents import Package
from bevlite.board.samples import read_sample


def _package(folder: Path, **changes: object) -> Path:
    files = {"lib/a.py": b"a = 1\n", "data/sample-0.npz": b"no archive", "README.md": b"hello\n"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    rows = {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
    manifest = {"format": 1, "network": {"name": "n"}, "files": rows, **changes}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_whole_package_has_no_problems(tmp_path: Path) -> None:
    package = Package(str(_package(tmp_path)))
    assert list(package.problems()) == [] and package.name == "n"
    assert package.require("README.md") == str(tmp_path / "README.md")


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    package = Package(str(_package(tmp_path)))
    (tmp_path / "README.md").write_bytes(b"hallo\n")
    (tmp_path / "data/sample-0.npz").unlink()
    (tmp_path / "lib/__pycache__").mkdir()
    (tmp_path / "lib/__pycache__/a.pyc").write_bytes(b"evil")
    first, second, third = package.problems()
    assert first.startswith("README.md: its bytes changed (SHA-256 ") and "data/sample-0.npz: No such file" in second
    assert third == "lib/__pycache__/a.pyc: a file that the manifest does not name"


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot be read"), ("[]", "not the manifest"), ('{"files": {}, "format": 9}', "format: found 9")],
)
def test_a_manifest_that_is_none(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(Fault, match=says) as caught:
        Package(str(tmp_path))
    assert caught.value.code == "package_damaged"
    with pytest.raises(Fault, match="no such file"):
        Package(str(tmp_path / "elsewhere"))


def test_no_name_leads_outside(tmp_path: Path) -> None:
    package = Package(str(_package(tmp_path, files={"../x": {"sha256": ""}, "/etc/passwd": {"sha256": ""}})))
    for name in ("../x", "/etc/passwd", "unnamed"):
        with pytest.raises(Fault, match="accepted: files of the package"):
            package.path(name)


def test_a_sample_that_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="cannot be read as a sample"):
        read_sample(str(_package(tmp_path) / "data/sample-0.npz"))
