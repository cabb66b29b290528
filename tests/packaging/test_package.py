"""Packing: the same bytes from the same run, what is refused before anything is written, signatures."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bevlite.agent.fault import Fault
from bevlite.api.packaging import package
from bevlite.board.contents import Package
from bevlite.board.samples import read_samples
from bevlite.board.signature import verify
from bevlite.errors import BevliteError

BOARD = "agx-orin-64gb"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, exported: Path) -> Path:
    """A package for a predicted board."""
    out = tmp_path_factory.mktemp("packed") / "package"
    package(exported, device=BOARD, out=out, budget_ms=20.0)
    return out


def test_the_same_run_gives_the_same_bytes(packed: Path, exported: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(exported, tmp_path / "elsewhere"))
    for file in again.rglob("*"):  # when files were written is no part of them
        os.utime(file, (1, 1))
    package(again, device=BOARD, out=tmp_path / "package", budget_ms=20.0)
    assert _bytes(tmp_path / "package") == _bytes(packed)


def test_what_is_in_it(packed: Path, exported: Path) -> None:
    manifest = json.loads((packed / "manifest.json").read_text())
    files = _bytes(packed)
    assert set(files) == {*manifest["files"], "manifest.json"}
    assert all(hashlib.sha256(files[n]).hexdigest() == row["sha256"] for n, row in manifest["files"].items())
    promise = manifest["promise"]
    assert promise["kind"] == "predicted" and set(promise["figures"]) == {"latency_p50_ms"}
    assert (
        "nothing was measured" in promise["notes"][0]
        and "predicted: nothing was measured" in files["README.md"].decode()
    )
    assert manifest["limits"] == {"latency_ms": 20.0} and manifest["engines"] == {}
    assert files["models/lidar.onnx"] == next((exported / "onnx").rglob("lidar.onnx")).read_bytes()
    assert json.loads(files["classes.json"])["detection"][0] == "car"
    assert os.access(packed / "check", os.X_OK) and os.access(packed / "scripts/run", os.X_OK)
    assert "Nothing was scored" in files["docs/OPTIMISED.md"].decode()
    assert list(Package(str(packed)).problems()) == []
    assert not any(str(exported) in text.decode("utf-8", "replace") for text in files.values()), (
        "no path of this machine"
    )


def test_samples_hold_what_the_sensors_gave(packed: Path) -> None:
    samples = read_samples(Package(str(packed)))
    assert len(samples) == 2 and samples[0].given["images"] is None
    points = samples[0].given["points"]
    assert points.dtype == np.float32 and points.shape[1] == 5 and np.isfinite(points).all()
    assert set(samples[0].golden) == {"heatmap", "boxes"}


def test_what_is_refused(exported: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    with pytest.raises(BevliteError, match="found a folder in use"):
        package(exported, device=BOARD, out=used)
    with pytest.raises(BevliteError, match="accepted: a board that the run was deployed to"):
        package(exported, device="onnxruntime", out=tmp_path / "a")
    bare = Path(shutil.copytree(exported, tmp_path / "bare"))
    (bare / "data.yaml").unlink()
    with pytest.raises(BevliteError, match="no samples for the package"):
        package(bare, device=BOARD, out=tmp_path / "b")
    shutil.rmtree(bare / "onnx")
    with pytest.raises(BevliteError, match="holds no exported modules"):
        package(bare, device=BOARD, out=tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "used"], "nothing is left behind"


def test_a_full_disk_leaves_the_old_package(
    packed: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(packed, tmp_path / "package"))
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        package(exported, device=BOARD, out=out)
    assert _bytes(out) == _bytes(packed) and [path.name for path in tmp_path.iterdir()] == ["package"]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
def test_a_signature_holds_until_a_byte_changes(packed: Path, exported: Path, tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    signers, strangers = tmp_path / "signers", tmp_path / "strangers"
    for file, key in ((signers, "mine"), (strangers, "theirs")):
        file.write_text(f'me@example.com namespaces="bevlite-package" {(tmp_path / f"{key}.pub").read_text()}')
    out = tmp_path / "package"
    package(exported, device=BOARD, out=out, budget_ms=20.0, sign=tmp_path / "mine")
    assert {n: c for n, c in _bytes(out).items() if n != "manifest.json.sig"} == _bytes(packed)
    assert verify(str(out), str(signers)) == "me@example.com"
    with pytest.raises(Fault, match=r"does not hold|signed by nobody"):
        verify(str(out), str(strangers))
    with (out / "manifest.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(Fault, match="does not hold"):
        verify(str(out), str(signers))
    with pytest.raises(Fault, match="is not signed"):
        verify(str(packed), str(signers))
    with pytest.raises(BevliteError, match=r"--sign: .*no such file"):
        package(exported, device=BOARD, out=tmp_path / "d", sign=tmp_path / "no-key")
    assert not (tmp_path / "d").exists()
