"""Outputs of engines against ONNX Runtime, by every way that trtexec gives them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from tests.simulation.jetson import networks
from tests.simulation.jetson.conftest import Bench


def reference(file: str, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


@pytest.fixture
def images() -> np.ndarray:
    array = np.random.default_rng(2).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    array.tofile("images.bin")
    return array


RUN = ("--loadEngine=m.plan", "--loadInputs=images:images.bin", "--duration=0", "--warmUp=0")


def raw(dtype: type[np.generic] = np.float32, kind: str = "Float") -> np.ndarray:
    return np.fromfile(f"scores.output.1.10.{kind}.raw", dtype).reshape(1, 10)


def deviation(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found.astype(np.float64) - wanted) ** 2)) / wanted.std())


def test_raw_and_json_outputs_agree_with_the_network(bench: Bench, images: np.ndarray) -> None:
    bench.build()
    answer = bench.run(*RUN, "--dumpRawBindingsToFile", "--exportOutput=o.json")
    assert "Using values loaded from images.bin for input images" in answer.out
    wanted = reference("net.onnx", images)
    assert 1e-6 < deviation(raw(), wanted) < 3e-3
    (entry,) = json.loads(Path("o.json").read_text())
    assert (entry["name"], entry["dimensions"]) == ("scores", "1x10")
    assert np.allclose(entry["values"], raw().ravel(), rtol=1e-5)
    assert np.array_equal(np.fromfile("images.input.1.3.64.64.Float.raw", np.float32).reshape(images.shape), images)


def test_precision_costs_accuracy_in_the_right_order(bench: Bench, images: np.ndarray) -> None:
    wanted = reference("net.onnx", images)
    Path("c.cache").write_text("TRT-100300-EntropyCalibration2\n" + "".join(f"{n}: 3c010a14\n" for n in "abdgj"))
    Path("c.cache").write_text(Path("c.cache").read_text() + "images: 3c010a14\n")
    off = []
    for flags in (["--noTF32"], ["--fp16"], ["--int8", "--calib=c.cache"], ["--int8"]):
        bench.build(*flags)
        bench.run(*RUN, "--dumpRawBindingsToFile")
        off.append(deviation(raw(), wanted))
    assert off == sorted(off) and off[0] < 1e-4 and off[-1] > 0.2


def test_a_network_with_its_own_quantisation_gives_what_onnx_runtime_gives(bench: Bench) -> None:
    networks.quantized(Path("q.onnx"))
    images = np.random.default_rng(4).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    images.tofile("images.bin")
    bench.run("--onnx=q.onnx", "--saveEngine=m.plan", "--int8", "--skipInference")
    bench.run(*RUN, "--dumpRawBindingsToFile")
    found = np.fromfile("scores.output.1.16.32.32.Float.raw", np.float32).reshape(1, 16, 32, 32)
    assert np.allclose(found, reference("q.onnx", images), atol=1e-5)


def test_fp16_bindings(bench: Bench, images: np.ndarray) -> None:
    bench.build("--fp16", "--inputIOFormats=fp16:chw", "--outputIOFormats=fp16:chw")
    assert bench.run(*RUN).code == 1, "the file holds four bytes an element"
    images.astype(np.float16).tofile("images.bin")
    assert bench.run(*RUN, "--dumpRawBindingsToFile").code == 0
    assert deviation(raw(np.float16, "Half"), reference("net.onnx", images)) < 1e-2


def test_a_wrong_input_is_refused(bench: Bench, images: np.ndarray) -> None:
    bench.build()
    Path("images.bin").write_bytes(b"123")
    short = bench.run(*RUN)
    assert short.code == 1 and "has 49152 bytes, but the file has 3 bytes" in short.err
    unknown = bench.run("--loadEngine=m.plan", "--loadInputs=x:images.bin")
    assert unknown.code == 1 and 'Cannot find input tensor with name "x"' in unknown.err


def test_the_fault_that_gives_nan(bench: Bench, images: np.ndarray) -> None:
    bench.build()
    bench.board.faults.set("nan_outputs", times=1)
    bench.run(*RUN, "--dumpRawBindingsToFile")
    assert np.isnan(raw()).all()
    bench.run(*RUN, "--dumpRawBindingsToFile")
    assert np.isfinite(raw()).all()
