"""A package on an emulated board: what its check says, what its scripts do, and what goes wrong in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from bevlite.board.samples import read_sample
from bevlite.data.classes import DETECTION_CLASSES
from bevlite.inference.onnx import OnnxNetwork
from bevlite.run_folder import Run
from tests.packaging.conftest import Unpacked

Change = Callable[[str, bytes | None], None]


def test_everything_holds_and_proves_nothing(unpacked: Unpacked) -> None:
    code, out, err = unpacked.ssh("./check --json ../found.json")
    assert code == 3, out + err
    lines = out.splitlines()
    assert not [line for line in lines if line.startswith("NO")] and "a rehearsal on an emulated board" in lines[-1]
    found = json.loads((unpacked.package.parent / "found.json").read_text())
    names = [row["name"] for row in found["rows"]]
    assert names[:2] == ["files", "module"] and "golden: heatmap" in names and "limit: latency_ms" in names
    manifest = json.loads((unpacked.package / "manifest.json").read_text())
    promised = manifest["promise"]["figures"]["latency_p99_ms"]["value"]
    assert manifest["promise"]["kind"] == "emulated" and found["figures"]["latency_p99_ms"] == pytest.approx(
        promised, 0.05
    )
    assert set(manifest["engines"]) == {"lidar", "fusion_heads"} and "models/lidar.plan" in manifest["files"]
    assert not list(unpacked.package.rglob("__pycache__")), "a package holds what its manifest names"


def test_frames_are_decoded_as_bevlite_decodes_them(unpacked: Unpacked) -> None:
    """Engines in FP16 on the board against the exported files in ONNX Runtime, decoded by the task."""
    code, out, err = unpacked.ssh("scripts/run --boxes 5 data/sample-0.npz")
    assert code == 0, err
    row = json.loads(out)
    sample = read_sample(str(unpacked.package / "data/sample-0.npz"))
    task = OnnxNetwork(Run(unpacked.run).variant(), {}).outline.tasks[0]
    expected = task.result(sample.golden, {}, 0)
    assert row["count"] == len(expected["boxes"]) and list(row["ms"])[-1] == "total"
    first = row["detections"][0]
    # Scores of an untrained network are nearly equal: the board's best box is among the host's best ones.
    near = np.abs(expected["boxes"][:50] - np.array(first["box"])).max(axis=1)
    assert near.min() < 0.05 and first["score"] == pytest.approx(float(expected["scores"][0]), abs=0.01)
    assert first["class"] == DETECTION_CLASSES[int(expected["classes"][int(near.argmin())])]


def test_changed_bytes_and_missing_samples(unpacked: Unpacked, changed: Change) -> None:
    changed("models/lidar.onnx", b"other bytes")
    changed("data/sample-1.npz", None)
    changed("scripts/more.py", b"print('mine')\n")
    code, out, _ = unpacked.ssh("./check")
    assert code == 2 and out.splitlines()[-1].endswith("damaged: unpack the package again")
    assert "NO  file: models/lidar.onnx: its bytes changed" in out and "data/sample-1.npz: No such file" in out
    assert "scripts/more.py: a file that the manifest does not name" in out
    code, _, err = unpacked.ssh("scripts/run")
    assert code == 2 and err.startswith("run: data/sample-1.npz: No such file") and err.count("\n") == 1


def test_a_package_for_another_board(unpacked: Unpacked, changed: Change) -> None:
    manifest = json.loads((unpacked.package / "manifest.json").read_text())
    manifest["board"].update(tensorrt="8.6.2", jetpack="6.0", sku="orin-nx-16gb")
    changed("manifest.json", json.dumps(manifest).encode())
    code, out, _ = unpacked.ssh("./check --no-timing")
    assert code == 1 and "NO  TensorRT: found 10.3.0; accepted: 8.6.2" in out and "engines" not in out
    assert "NO  module: found agx-orin-64gb; accepted: orin-nx-16gb" in out and "NO  JetPack: found 6" in out


def test_engines_that_compute_something_else(unpacked: Unpacked, changed: Change) -> None:
    unpacked.board.faults.set("nan_outputs")
    code, out, _ = unpacked.ssh("./check --no-timing")
    assert code == 3 and "NO  golden: heatmap: nothing finite, 100% not finite" in out and "not everything holds" in out


def test_engines_travel_with_the_package(unpacked: Unpacked, changed: Change) -> None:
    """Another board of the same kind builds nothing; one that differs builds its own, and says why."""
    cache = unpacked.board.root / "home/nvidia/.bevlite/engines"
    keys = {folder.name for folder in cache.iterdir()}
    shutil.rmtree(cache)
    code, out, err = unpacked.ssh("./check --no-timing")
    assert code == 3 and "building" not in out and {folder.name for folder in cache.iterdir()} <= keys, out + err
    shutil.rmtree(cache)
    manifest = json.loads((unpacked.package / "manifest.json").read_text())
    manifest["engines"]["lidar"]["built_on"]["l4t"] = "36.5.0"
    changed("manifest.json", json.dumps(manifest).encode())
    code, out, err = unpacked.ssh("./check --no-timing")
    assert code == 3, err
    assert "lidar: the engine of the package was built on l4t 36.5.0; it is built anew" in out
    assert "lidar: building its engine" in out and "fusion_heads: building" not in out


def test_two_runtimes_on_one_gpu(unpacked: Unpacked) -> None:
    holder = "python3 -I -B -c \"import sys,time; sys.path.insert(0,'lib'); from bevlite.board.network import Network; "
    holder += "n=Network('.'); print('up', flush=True); import subprocess; "
    holder += "d=subprocess.run(['scripts/run'],capture_output=True,text=True); print(d.returncode, d.stderr)\""
    code, out, err = unpacked.ssh(holder)
    assert code == 0, err
    assert out.splitlines()[0] == "up" and "1 run: the board is leased by a runtime (process " in out


def test_a_full_disk(unpacked: Unpacked, changed: Change) -> None:
    unpacked.board.faults.set("disk_full", of="uploads")
    code, out, err = unpacked.ssh("./check")
    assert code == 1 and "no space left on the board's disk" in err and err.count("\n") == 1, out + err


def test_frames_that_cannot_be_used(unpacked: Unpacked) -> None:
    arrays = dict(np.load(unpacked.package / "data/sample-0.npz"))
    home = unpacked.package.parent
    points = arrays["points"].copy()
    points[7, 1] = np.nan
    np.savez(home / "nan.npz", points=points)
    np.savez(home / "many.npz", points=np.tile(arrays["points"], (10, 1)))
    (home / "cut.npz").write_bytes((home / "many.npz").read_bytes()[:1000])
    code, out, err = unpacked.ssh("scripts/run ../nan.npz ../many.npz")
    assert code == 2 and out == ""
    first, second = err.splitlines()
    assert "nan.npz: points: found 1 of" in first and "with NaN or infinity" in first
    assert "many.npz: points: found" in second and "accepted: at most" in second
    code, out, err = unpacked.ssh("scripts/run --mend ../nan.npz")
    assert code == 0 and json.loads(out)["notes"][0].startswith("1 of ") and err == ""
    code, _, err = unpacked.ssh("scripts/run ../cut.npz")
    assert code == 2 and "cannot be read as a sample" in err and err.count("\n") == 1


def test_benchmark_and_monitor(unpacked: Unpacked, changed: Change) -> None:
    code, out, err = unpacked.ssh("scripts/benchmark --frames 6 --json ../bench.json")
    assert code == 3, err
    found = json.loads((unpacked.package.parent / "bench.json").read_text())
    assert found["kind"] == "emulated" and found["in_flight"]["1"]["frames"] == 6
    assert "fusion_heads" in found["in_flight"]["1"]["steps_ms"] and "EMULATED" in out
    code, out, err = unpacked.ssh("scripts/monitor --minutes 0.05 --interval-s 0.5 --out ../watch")
    assert code == 3, err
    rows = [json.loads(line) for line in (unpacked.package.parent / "watch.jsonl").read_text().splitlines()]
    assert len(rows) >= 3 and all(row["power_w"] > 0 and row["gpu_mhz"] > 0 for row in rows)
    assert "Latency, ms" in (unpacked.package.parent / "watch.html").read_text()


def test_the_monitor_sees_a_board_throttle(unpacked: Unpacked, changed: Change) -> None:
    """Every kernel takes 500 times longer, so that a few frames heat the board."""
    truth = unpacked.board.folder / "truth.json"
    kept = json.loads(truth.read_text())
    truth.write_text(json.dumps({**kept, "factors": dict.fromkeys(kept["factors"], 500.0)}))
    unpacked.board.faults.set("throttling")
    try:
        code, out, err = unpacked.ssh("scripts/monitor --minutes 0.1 --interval-s 0.5 --out ../hot")
    finally:
        truth.write_text(json.dumps(kept))
    assert code == 3, err
    rows = [json.loads(line) for line in (unpacked.package.parent / "hot.jsonl").read_text().splitlines()]
    assert "the board throttled: the GPU clock fell from 1300" in out and "over-current events" in out
    assert rows[-1]["gpu_mhz"] < 900 and rows[-1]["latency_ms"]["p50"] > 1.4 * 200
    assert "What broke, and when" in (unpacked.package.parent / "hot.html").read_text()
