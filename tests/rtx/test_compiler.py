"""NVIDIA's compiler on files, and stand-ins for it that crash, hang, and take all memory."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError
from bevlite.rtx.compiler import build, build_model
from bevlite.rtx.process import Limits
from bevlite.rtx.weights import filled
from tests.latency.graphs import conv_relu, integers, model, weight
from tests.rtx.conftest import StandIn, needs_compiler
from tests.waiting import until

LAYERS = (
    "Layers:\\nName: a, LayerType: kgen, Inputs: [], Constants: [], Outputs: [], TacticName: t, StreamId: 0, Metadata: "
)


@needs_compiler
def test_a_convolution_and_its_relu_are_one_kernel(file: Path) -> None:
    built = build(file)
    assert built.accepted and not built.errors and not built.unread
    (product,) = [layer for layer in built.layers if layer.is_product]
    assert product.nodes == ("conv", "relu") and product.kind == "correlation"
    assert built.layer_of("relu") == product and built.layer_of("nothing") is None
    assert [(t.name, t.shape, t.dtype) for t in built.inputs] == [("x", (1, 16, 32, 32), "fp32")]
    assert [(t.name, t.shape, t.dtype) for t in built.outputs] == [("y", (1, 16, 32, 32), "fp32")]
    assert built.memory.weights is not None and built.memory.weights >= (16 * 16 * 9 + 16) * 4
    assert built.capability == "8.6" and built.compiler.startswith("1.")
    assert type(built).model_validate_json(built.model_dump_json()) == built


@needs_compiler
def test_what_the_parser_refuses_is_named_by_node(tmp_path: Path) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[3, 3], dilations=[2, 2])
    built = build_model(model([pool], {"x": (1, 8, 16, 16)}, ["y"]), name="net")
    assert built.verdict == "refused" and not built.layers
    error = built.errors[0]
    assert (error.stage, error.node, error.op) == ("parse", "pool", "MaxPool") and "dilations" in error.reason
    assert error.where == "pool (MaxPool)"


@needs_compiler
def test_what_the_builder_refuses(tmp_path: Path) -> None:
    """FP8 has no hardware in compute capability 8.6, nor in the 8.7 of an Orin."""
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dq"),
    ]
    built = build_model(model(nodes, {"x": (1, 8, 16, 16)}, ["y"], [scale, zero], opset=19))
    assert built.verdict == "refused" and built.errors[0].stage == "build" and "fp8" in built.errors[0].reason


@needs_compiler
@pytest.mark.parametrize(
    ("op", "domain"), [("EfficientNMS_TRT", "TRT"), ("MyOwnPlugin", "mine"), ("NonZero", ""), ("DeformConv", "")]
)
def test_what_runs_through_a_plugin_gets_no_verdict(op: str, domain: str) -> None:
    more = {"kernel_shape": [3, 3]} if op == "DeformConv" else {}
    inputs: dict[str, tuple[int | str, ...]] = {"x": (1, 4, 8, 8)}
    names, constants = ["x"], []
    if op == "DeformConv":
        inputs["offset"] = (1, 18, 6, 6)
        names, constants = ["x", "w", "offset"], [weight("w", 4, 4, 3, 3)]
    node = helper.make_node(op, names, ["y"], name="node", domain=domain, **more)
    built = build_model(model([node], inputs, ["y"], constants, opset=19, extra_domains=(domain,) if domain else ()))
    assert built.verdict == "none" and built.errors[0].code == "PLUGIN"
    assert built.errors[0].where == f"node ({op})"


@needs_compiler
def test_a_plugin_does_not_hide_what_is_refused() -> None:
    nodes = [
        helper.make_node("EfficientNMS_TRT", ["x"], ["p"], name="plugin", domain="TRT"),
        helper.make_node("MaxPool", ["p"], ["y"], name="pool", kernel_shape=[3, 3], dilations=[2, 2]),
    ]
    built = build_model(model(nodes, {"x": (1, 8, 16, 16)}, ["y"], extra_domains=("TRT",)))
    assert built.verdict == "refused" and {error.node for error in built.errors} == {"plugin", "pool"}


@needs_compiler
def test_a_size_that_is_not_given_gets_no_verdict() -> None:
    relu = helper.make_node("Relu", ["x"], ["y"], name="relu")
    built = build_model(model([relu], {"x": ("n", 8)}, ["y"]))
    assert built.verdict == "none" and built.errors[0].reason == "a size that is not given: no word on it"


@needs_compiler
def test_a_crash_in_native_code_is_a_verdict_that_is_missing(tmp_path: Path) -> None:
    """TopK without a K: NVIDIA's parser (1.4 to 1.7) reads what is not there."""
    file = tmp_path / "crash.onnx"
    onnx.save(model([helper.make_node("TopK", ["x", ""], ["y", "i"], name="top")], {"x": (1, 100)}, ["y"]), file)
    built = build(file)
    if built.verdict == "refused":  # a later version that says so
        return
    (error,) = built.errors
    assert built.verdict == "none" and "SIGSEGV" in error.reason and str(file) in error.reason
    assert error.where == "top (TopK)"


@needs_compiler
def test_weights_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(conv_relu(16, 32), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    assert build(path).accepted
    (tmp_path / "net.bin").unlink()
    with pytest.raises(BevliteError, match=r"net\.onnx: its weights in net\.bin cannot be read"):
        build(path)


@needs_compiler
def test_weights_of_type_and_shape_alone_get_values() -> None:
    stripped = conv_relu(16, 32)
    for tensor in stripped.graph.initializer:
        tensor.ClearField("raw_data")
    built = build_model(stripped, name="shapes")
    assert built.accepted and built.source == "shapes"
    assert not stripped.graph.initializer[0].raw_data  # the model itself is left as it was


@needs_compiler
@pytest.mark.parametrize("content", [b"", b"no model at all " * 20])
def test_what_is_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(BevliteError, match=r"net\.onnx: not (an ONNX model|a readable ONNX file)"):
        build(path)


@needs_compiler
def test_a_truncated_file(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(BevliteError, match="not a readable ONNX file"):
        build(file)


def test_a_file_over_2_gb_is_refused_before_it_is_read(tmp_path: Path, stand_in: StandIn) -> None:
    stand_in.does("raise AssertionError('started')")
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(BevliteError, match=r"large\.onnx: found 2\.1 GB in one file.*accepted: weights in files"):
        build(path)
    with pytest.raises(BevliteError, match="no such file"):
        build(tmp_path / "absent.onnx")


def test_a_model_over_2_gb_in_memory(stand_in: StandIn) -> None:
    stand_in.does("raise AssertionError('started')")
    huge = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (1, 40_000)},
        ["y"],
        [TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[40_000, 20_000])],
    )
    with pytest.raises(BevliteError, match=r"found 3\.2 GB with its weights, and an ONNX model holds at most 2 GB"):
        build_model(huge)


def test_an_unknown_compute_capability_and_limits_that_are_none(file: Path, stand_in: StandIn) -> None:
    stand_in.does("pass")
    with pytest.raises(BevliteError, match=r"compute capability: found '8\.7'; accepted: 7\.5, 8\.0, 8\.6"):
        build(file, capability="8.7")
    for limits in ({"seconds": 0}, {"seconds": float("nan")}, {"memory_mib": -1}):
        with pytest.raises(BevliteError, match=f"{next(iter(limits))}: found .*; accepted: a number over 0"):
            Limits(**limits)


@pytest.mark.parametrize(
    ("body", "limits", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", Limits(), r"crashed \(SIGSEGV\)"),
        ("os.kill(os.getpid(), signal.SIGABRT)", Limits(), r"crashed \(SIGABRT\)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", Limits(), r"was killed \(SIGKILL; memory may have run out\)"),
        ("time.sleep(600)", Limits(seconds=1), "had not ended after 1 s"),
        ("kept = []\nwhile True:\n    kept.append(b'x' * 2**24)", Limits(memory_mib=400), "took more than 400 MiB"),
        ("sys.exit(3)", Limits(), "could not run"),
        ("raise MemoryError('native')", Limits(), r"could not run \(MemoryError: native\)"),
    ],
)
def test_a_compiler_that_does_not_come_back(
    body: str, limits: Limits, said: str, file: Path, stand_in: StandIn
) -> None:  # fmt: skip
    stand_in.does(f"say('Parsing node: conv [Conv]')\n{body}")
    began = time.monotonic()
    built = build(file, limits=limits)
    assert time.monotonic() - began < 30
    (error,) = built.errors
    assert built.verdict == "none" and error.where == "conv (Conv)"
    assert re.search(said, error.reason), error.reason
    assert error.reason.endswith(f"on {file}")


def test_memory_that_the_compiler_itself_runs_out_of_is_no_refusal(file: Path, stand_in: StandIn) -> None:
    stand_in.does(
        "say('Error Code 2: OutOfMemory (Requested size was 9 bytes: out of memory)', Severity.ERROR)\nreturn None"
    )
    assert build(file).verdict == "none"
    stand_in.does("say('no implementation for node conv', Severity.ERROR)\nreturn None")
    assert build(file).verdict == "refused"


def test_a_log_that_cannot_be_read_leaves_the_verdict(file: Path, stand_in: StandIn) -> None:
    stand_in.does("say('Layers:\\\\nKernel a: conv')")
    built = build(file)
    assert built.accepted and not built.layers
    assert built.unread.startswith("the log of tensorrt-rtx 1.9.0.1 is in a form that is not known: a layer is not")
    stand_in.does(f"say('{LAYERS}')")
    built = build(file)
    assert built.accepted and not built.unread and [layer.name for layer in built.layers] == ["a"]


def test_nothing_is_left_behind(file: Path, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    stand_in.does("open(os.path.join(os.environ['MARK'], 'pid'), 'w').write(str(os.getpid()))\ntime.sleep(600)")
    monkeypatch.setenv("MARK", str(tmp_path))
    assert build(file, limits=Limits(seconds=2)).verdict == "none"
    assert list(folder.iterdir()) == []
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


ASKS = """
from pathlib import Path
from bevlite.rtx.compiler import build
build(Path(%r))
"""


def test_the_compiler_dies_with_whoever_asked(
    file: Path, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.does("open(os.path.join(os.environ['MARK'], 'pid'), 'w').write(str(os.getpid()))\ntime.sleep(600)")
    monkeypatch.setenv("MARK", str(tmp_path))
    asker = subprocess.Popen([sys.executable, "-c", ASKS % str(file)])
    assert until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    worker = Path(f"/proc/{int((tmp_path / 'pid').read_text())}")
    assert worker.exists()
    asker.kill()
    asker.wait()
    assert until(lambda: not worker.exists() or "Z" in (worker / "stat").read_text().split()[2])


def test_constants_that_have_values_keep_them() -> None:
    top = helper.make_node("TopK", ["x", "k"], ["y", "i"], name="top")
    made = model([top], {"x": (1, 100)}, ["y"], [integers("k", 5)])
    assert filled(made) == made


def test_constants_without_values_get_positive_ones_inside_branches_too() -> None:
    bare = TensorProto(name="w", data_type=TensorProto.FLOAT16, dims=[3, 5])
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["o"])], "then", [], [], [bare])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    made = model([branch], {"c": ()}, ["y"], [TensorProto(name="z", data_type=TensorProto.INT8, dims=[4])])
    full = filled(made)
    values = numpy_helper.to_array(full.graph.node[0].attribute[0].g.initializer[0])
    assert values.shape == (3, 5) and values.dtype == np.float16 and (values > 0).all()
    assert not numpy_helper.to_array(full.graph.initializer[0]).any()
    with pytest.raises(BevliteError, match=r"constant 's': found STRING without values"):
        filled(
            model(
                [top_of_nothing()], {"x": (1,)}, ["y"], [TensorProto(name="s", data_type=TensorProto.STRING, dims=[2])]
            )
        )


def top_of_nothing() -> onnx.NodeProto:
    return helper.make_node("Identity", ["x"], ["y"])
