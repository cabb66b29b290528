"""Builds: precisions that follow from what was asked, layer info, the plan, the timing cache, DLA, operators."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.simulation.jetson import networks
from tests.simulation.jetson.conftest import Bench, each_version


def layers(file: str = "li.json") -> list[Any]:
    return json.loads(Path(file).read_text())["Layers"]


def info(bench: Bench, *flags: str, onnx: str = "net.onnx") -> list[dict[str, Any]]:
    answer = bench.run(
        f"--onnx={onnx}", "--saveEngine=m.plan", "--profilingVerbosity=detailed", "--exportLayerInfo=li.json", *flags,
        "--buildOnly" if bench.state.release.number < 8600 else "--skipInference",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return layers()


def weights(found: list[dict[str, Any]]) -> dict[str, str]:
    return {n["Name"]: n["Weights"]["Type"] for n in found if "Weights" in n}


@each_version
def test_layer_info_in_the_form_of_the_release(bench: Bench) -> None:
    assert bench.build("--exportLayerInfo=li.json").code == 0
    assert all(isinstance(n, str) for n in layers()), "names alone by default"
    found = info(bench)
    document = json.loads(Path("li.json").read_text())
    newest = bench.state.release.major >= 11
    assert ("I/O Tensors" in document) is newest and ("Bindings" in document) is not newest
    conv = next(n for n in found if n["Name"].startswith("/stem/Conv"))
    assert conv["Name"] == "/stem/Conv + /stem/Relu" and conv["HasReLU"] == 1
    assert (conv["Kernel"], conv["Stride"], conv["OutMaps"], conv["Weights"]["Count"]) == ([3, 3], [2, 2], 32, 864)
    assert ("Metadata" in conv) is (bench.state.release.number >= 8600)
    if "Metadata" in conv:
        assert conv["Metadata"] == "[ONNX Layer: /stem/Conv]\u001e[ONNX Layer: /stem/Relu]"
    assert ("Format/Datatype" in conv["Inputs"][0]) is not newest
    assert ("Datatype" in conv["Inputs"][0]) is newest


@pytest.mark.parametrize("bench", ["8.5.2", "10.3.0"], indirect=True)
def test_weakly_typed_precisions(bench: Bench) -> None:
    assert set(weights(info(bench)).values()) == {"Float"}
    assert set(weights(info(bench, "--fp16")).values()) == {"Half"}
    assert set(weights(info(bench, "--fp16", "--int8")).values()) == {"Int8"}
    asked = info(bench, "--fp16", "--precisionConstraints=obey", "--layerPrecisions=/pw/Conv:fp32")
    assert weights(asked) == {
        "/stem/Conv + /stem/Relu": "Half",
        "/dw/Conv + /Add": "Half",
        "/pw/Conv + /act/Sigmoid + /act/Mul": "Float",
    }
    ignored = info(bench, "--fp16", "--layerPrecisions=/pw/Conv:fp32")
    assert set(weights(ignored).values()) == {"Half"}, "without a constraint the wish is not followed"


def test_a_calibration_cache_decides_which_layers_become_int8(bench: Bench) -> None:
    Path("c.cache").write_text("TRT-100300-EntropyCalibration2\nimages: 3c010a14\nb: 3c010a14\n")
    found = weights(info(bench, "--fp16", "--int8", "--calib=c.cache"))
    assert found["/stem/Conv + /stem/Relu"] == "Int8" and found["/pw/Conv + /act/Sigmoid + /act/Mul"] == "Half"
    missing = bench.run("--onnx=net.onnx", "--int8", "--calib=none.cache")
    assert missing.code == 1 and "Can not open provided calibration cache file" in missing.err


@pytest.mark.parametrize("bench", ["10.3.0", "11.4.1"], indirect=True)
def test_strong_typing_follows_the_graph(bench: Bench) -> None:
    networks.convolutional(Path("half.onnx"), half=True)
    flag = [] if bench.state.release.major >= 11 else ["--stronglyTyped"]
    assert set(weights(info(bench, *flag)).values()) == {"Float"}
    assert set(weights(info(bench, *flag, onnx="half.onnx")).values()) == {"Half"}


@each_version
def test_quantisation_in_the_graph(bench: Bench) -> None:
    networks.quantized(Path("q.onnx"))
    if bench.state.release.major >= 11:
        assert weights(info(bench, onnx="q.onnx")) == {"/Conv + /Relu": "Int8"}
        return
    refused = bench.run("--onnx=q.onnx", "--fp16")
    assert refused.code == 1 and "INT8" in refused.err
    assert weights(info(bench, "--fp16", "--int8", onnx="q.onnx")) == {"/Conv + /Relu": "Int8"}


@pytest.mark.parametrize(("bench", "taken"), [("8.6.2", False), ("10.3.0", True)], indirect=["bench"])
def test_a_missing_zero_point_is_refused_before_10(bench: Bench, taken: bool) -> None:
    networks.quantized(Path("q.onnx"), zero_points=False)
    assert (bench.run("--onnx=q.onnx", "--int8", "--skipInference").code == 0) is taken


def test_the_fault_that_keeps_fp32(bench: Bench) -> None:
    bench.board.faults.set("fp32_engine", times=1)
    assert set(weights(info(bench, "--fp16")).values()) == {"Float"}
    assert set(weights(info(bench, "--fp16")).values()) == {"Half"}


def test_fp32_bindings_are_copied_and_fp16_bindings_are_not(bench: Bench) -> None:
    copies = [n["Name"] for n in info(bench, "--fp16") if n["LayerType"] == "Reformat"]
    assert [n.split(" to ")[0] for n in copies] == [
        "Reformatting CopyNode for Input Tensor 0",
        "Reformatting CopyNode for Output Tensor 0",
    ]
    formats = ("--inputIOFormats=fp16:chw", "--outputIOFormats=fp16:chw")
    assert [n for n in info(bench, "--fp16", *formats) if n["LayerType"] == "Reformat"] == []
    wrong = bench.run("--onnx=net.onnx", "--inputIOFormats=fp99:chw")
    assert wrong.code == 1 and "fp99" in wrong.err and wrong.lines[-1].startswith("&&&& FAILED")


@each_version
def test_the_header_of_a_plan(bench: Bench) -> None:
    bench.build()
    data = Path("m.plan").read_bytes()
    assert struct.unpack_from("<I", data)[0] == 0x74727466 and data[:4] == b"ftrt"
    assert data[24:27] == bytes(int(p) for p in bench.state.release.version.split("."))


def test_a_plan_of_another_version_device_or_size_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.build()
    whole = Path("m.plan").read_bytes()
    Path("old.plan").write_bytes(whole[:24] + bytes((8, 6, 1, 6)) + whole[28:])
    old = bench.run("--loadEngine=old.plan")
    assert old.code == 1
    assert "expecting library version 10.3.0.30 got 8.6.1.6, please rebuild." in old.err
    assert "IRuntime::deserializeCudaEngine: Error Code 6" in old.err
    Path("half.plan").write_bytes(whole[: len(whole) // 2])
    assert bench.run("--loadEngine=half.plan").code == 1
    absent = bench.run("--loadEngine=none.plan")
    assert absent.code == 1 and "Error opening engine file: none.plan" in absent.err
    assert (
        "Plan was created with TensorRT version 10.3.0.30"
        in bench.run("--getPlanVersionOnly", "--loadEngine=m.plan").out
    )
    bench.board.faults.set("engine_other_version", times=1)
    assert "is not compatible with this version of TensorRT" in bench.run("--loadEngine=m.plan").err


def test_a_plan_of_another_mode_or_module_warns_and_runs(bench: Bench) -> None:
    bench.build()
    warning = "across different models of devices is not recommended"
    assert warning not in bench.run("--loadEngine=m.plan").err
    bench.state.change(mode=3)
    changed = bench.run("--loadEngine=m.plan")
    assert changed.code == 0 and warning in changed.err
    bench.state.change(mode=0)
    bench.board.faults.set("engine_other_module", times=1)
    assert warning in bench.run("--loadEngine=m.plan").err


def seconds(out: str) -> float:
    found = re.search(r"Engine built in (\S+) sec\.", out)
    assert found
    return float(found[1])


def test_the_timing_cache_makes_rebuilds_fast_and_a_foreign_one_is_refused(bench: Bench) -> None:
    first = bench.build("--fp16", "--timingCacheFile=tc")
    assert "Could not read timing cache from: tc" in first.err and "Saved" in first.out
    again = bench.build("--fp16", "--timingCacheFile=tc")
    assert "bytes of timing cache from tc" in again.out and seconds(again.out) < 0.7 * seconds(first.out)
    document = json.loads(Path("tc").read_text())
    Path("tc").write_text(json.dumps({**document, "tensorrt": [8, 6, 2, 3]}))
    foreign = bench.build("--fp16", "--timingCacheFile=tc")
    assert "Detected invalid timing cache" in foreign.err and seconds(foreign.out) > 2 * seconds(again.out)
    bench.board.faults.set("stale_timing_cache", times=1)
    assert "Detected invalid timing cache" in bench.build("--fp16", "--timingCacheFile=tc").err


@pytest.mark.parametrize(
    ("bench", "op", "taken"),
    [
        ("8.5.2", "LayerNormalization", False),
        ("8.5.2", "NonMaxSuppressionX", False),
        ("10.3.0", "Det", False),
        ("8.5.2", "Softmax", True),
        ("11.4.1", "Softmax", True),
    ],
    indirect=["bench"],
)
def test_operators_by_release(bench: Bench, op: str, taken: bool) -> None:
    networks.convolutional(Path("op.onnx"), last=op)
    answer = bench.run("--onnx=op.onnx", "--buildOnly" if bench.state.release.number < 8600 else "--skipInference")
    assert (answer.code == 0) is taken
    if not taken:
        assert f"No importer registered for op: {op}. Attempting to import as plugin." in answer.out
        assert f'While parsing node number 11 [{op} -> "scores"]:' in answer.err
        assert "Plugin not found, are the plugin name, version, and namespace correct?" in answer.err
        assert answer.err.rstrip().endswith("Engine set up failed")


@each_version
def test_dla_placement(bench: Bench) -> None:
    networks.convolutional(Path("dla.onnx"), last="Softmax")
    networks.attention(Path("att.onnx"))
    half = [] if bench.state.release.major >= 11 else ["--fp16"]
    answer = bench.run("--onnx=dla.onnx", "--saveEngine=d.plan", *half, "--useDLACore=0", "--allowGPUFallback")
    if bench.state.release.version == "10.16.2":
        assert answer.code == 1 and "Cannot create DLA engine, 0 not available" in answer.err
        return
    assert answer.code == 0 and "---------- Layers Running on DLA ----------" in answer.out
    assert "[DlaLayer] {ForeignNode[/stem/Conv + /stem/Relu..." in answer.out
    mixed = bench.run("--onnx=att.onnx", *half, "--useDLACore=0", "--allowGPUFallback")
    fallen = "Default DLA is enabled but layer {ForeignNode[/qk/MatMul.../av/MatMul]} is not supported on DLA"
    assert fallen in mixed.err and "[GpuLayer] {ForeignNode[/qk/MatMul.../av/MatMul]}" in mixed.out
    assert bench.run("--onnx=att.onnx", *half, "--useDLACore=0").code == 1
    graph_flag = [] if bench.state.release.major >= 11 else ["--useCudaGraph"]
    assert "not permitted under CUDA graph capture" in bench.run("--loadEngine=d.plan", *graph_flag).err


def test_out_of_memory_is_disguised(bench: Bench) -> None:
    bench.board.faults.set("out_of_memory", times=1)
    answer = bench.build()
    assert answer.code == 1 and not Path("m.plan").exists()
    assert "Device memory is insufficient to use tactic" in answer.err
    assert "Could not find any implementation for node /stem/Conv + /stem/Relu" in answer.err
    assert bench.build("--memPoolSize=workspace:0").code == 1
    assert bench.build("--memPoolSize=workspace:2048").code == 0


def test_wrong_files_and_names(bench: Bench) -> None:
    assert "Could not open file none.onnx" in bench.run("--onnx=none.onnx").err
    Path("bad.onnx").write_bytes(b"no model")
    assert bench.run("--onnx=bad.onnx").code == 1
    assert "Static model does not take explicit shapes" in bench.run("--onnx=net.onnx", "--shapes=images:1x3x64x64").err
    assert 'Cannot find input tensor with name "x"' in bench.run("--onnx=net.onnx", "--loadInputs=x:f.bin").err


def test_attention_is_one_layer(bench: Bench) -> None:
    networks.attention(Path("att.onnx"))
    kinds = Counter(n["LayerType"] for n in info(bench, "--fp16", onnx="att.onnx"))
    assert kinds["Myelin"] == 1


def test_dynamic_shapes(bench: Bench) -> None:
    model = onnx.load("net.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, "dynamic.onnx")
    words = ("--onnx=dynamic.onnx", "--saveEngine=m.plan", "--skipInference")
    assert "Automatically overriding shape to: 1x3x64x64" in bench.run(*words).err
    assert bench.run(*words, "--shapes=images:4x3x64x64").err == ""
    assert "Input binding for images with dimensions 4x3x64x64 is created." in bench.run("--loadEngine=m.plan").out
