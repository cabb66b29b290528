"""ONNX's shape inference on files that would end its process: a line instead, and nothing else changes."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from bevlite import shape_inference
from bevlite.errors import BevliteError
from bevlite.export.check.operators import check_model, has_errors
from bevlite.latency.device import find_device
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import predict_onnx
from bevlite.shape_inference import NegativeSize, infer_shapes

CUT = "int64[1] f = {0}, int64[1] t = {2}, int64[1] a = {2}"
SMALL = "float[1,1,2,2] x"
POOL = "MaxPool<kernel_shape=[7, 7]>"


def net(inputs: str, body: str, constants: str = "int64 unused = {0}", cut: str = CUT) -> onnx.ModelProto:
    head = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float y) <{cut}, {constants}>'
    model = onnx.parser.parse_model(f"{head} {{ {body} }}")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


ENDS_THE_PROCESS = {
    "a pool": net(SMALL, f"b = {POOL}(x) y = Slice(b, f, t, a)"),
    "a mean": net(SMALL, "b = AveragePool<kernel_shape=[7, 7]>(x) y = Slice(b, f, t, a)"),
    "a convolution": net(SMALL, "b = Conv<kernel_shape=[7, 7]>(x, w) y = Slice(b, f, t, a)", "float[1,1,7,7] w"),
    "a transposed one": net(
        SMALL, "b = ConvTranspose<pads=[9, 9, 9, 9]>(x, w) y = Slice(b, f, t, a)", "float[1,1,1,1] w = {1}"
    ),
    "a pad": net(SMALL, "b = Pad(x, p) y = Slice(b, f, t, a)", "int64[8] p = {0, 0, -9, -9, 0, 0, 0, 0}"),
    "an expansion": net("float[1] x", "b = Expand(x, p) y = Slice(b, f, t, a)", "int64[4] p = {1, 1, -9, -9}"),
    "a resize": net(SMALL, "b = Resize(x, , p) y = Slice(b, f, t, a)", "float[4] p = {1, 1, -9, -9}"),
    "a split": net("float[1,1,4,1] x", "b, c = Split<axis=2>(x, p) y = Slice(b, f, t, a)", "int64[2] p = {-3, 7}"),
    "what is carried on": net(
        "float[2,2] x", "b = Pad(x, p) d = Gather<axis=0>(b, i) y = Slice(d, f, t, a)",
        "int64[4] p = {0, -9, 0, 0}, int64 i = {0}", CUT.replace("a = {2}", "a = {0}"),
    ),
    "a pool of what was cut": net(
        "float[1,1,9,9] x", f"c = Slice(x, f, t, a) b = {POOL}(c) y = Slice(b, f, t, a)"
    ),
    "a branch": net(
        f"bool c, {SMALL}",
        f"y = If<then_branch = one () => (float p) {{ m = {POOL}(x) p = Slice(m, f, t, a) }}, "
        "else_branch = two () => (float q) { q = Identity(x) }>(c)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS_THE_PROCESS)
def test_a_size_below_zero_is_one_line(name: str) -> None:
    model = ENDS_THE_PROCESS[name]
    with pytest.raises(NegativeSize, match=r"tensor '\w+' has the sizes \[.*-.*\]; accepted: sizes of 0 or more"):
        infer_shapes(model, data_prop=True)
    assert has_errors(check_model(model))
    with pytest.raises(BevliteError):
        predict_onnx(model, find_device("agx-orin-64gb"))


def test_constants_and_inputs() -> None:
    """A constant has sizes; an input of -1 is one of unknown size, as many exporters write it."""
    model = net(SMALL, "y = Slice(x, f, t, a)")
    model.graph.initializer[-1].dims[:] = [-(2**63), -1]
    with pytest.raises(NegativeSize, match="tensor 'unused' has the sizes"):
        infer_shapes(model)
    dynamic = net("float[1,1,4,4] x", "y = Slice(x, f, t, a)")
    dynamic.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -1
    found = infer_shapes(dynamic)
    assert not found.graph.input[0].type.tensor_type.shape.dim[2].HasField("dim_value")
    with pytest.raises(BevliteError, match="dynamic"):
        read_graph(dynamic)


def test_what_is_sound_is_inferred_as_by_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """And once more than by ONNX for a file with Slices, whatever their number; not for one without."""
    body = "".join(f"c{n} = Slice(c{n - 1}, f, t, a) " for n in range(1, 30))
    model = net("float[1,1,9,9] c0", f"{body} b = MaxPool<kernel_shape=[2, 2]>(c29) y = Slice(b, f, t, a)")
    wanted = onnx.shape_inference.infer_shapes(model, data_prop=True)
    assert infer_shapes(model, data_prop=True) == wanted
    calls: list[int] = []
    own = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        shape_inference.onnx.shape_inference, "infer_shapes", lambda *a, **k: (calls.append(1), own(*a, **k))[1]
    )
    infer_shapes(model)
    assert len(calls) == 3  # the last cut is behind a pool
    infer_shapes(net(SMALL, "y = Relu(x)"))
    assert len(calls) == 4
