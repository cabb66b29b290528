"""What the table of operators cannot say: cases that parse and then fail, run wrongly, or run slowly.

Sources: `onnx-tensorrt/docs/operators.md` and importers (8.5-GA, 8.6-GA, 10.x, 11.1); the issues named below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import TensorProto

from bevlite.export.check.context import Context, Problem, attribute
from bevlite.tensorrt import BEFORE_11_2, LATER, OLDEST, TENSORRT_8

Rule = Callable[[Context, onnx.NodeProto], Iterator[Problem]]
TOPK_LIMIT = 3840
SELECT_LAST_SINCE = 12
_WHOLE = (TensorProto.INT32, TensorProto.INT64)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
FP16_MAX = 65504


def _grid_sample(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    mode = attribute(node, "mode", "linear" if c.opset >= 20 else "bilinear")
    if mode in ("linear", "cubic"):
        reason = f"mode '{mode}' of opset 20 is not recognised and runs as nearest (TensorRT#4646)"
        # From 11.2 on there is 5-D GridSample, which only opset 20 has, and so its words are read.
        remedy = "export at opset 16 to 19, where it is called bilinear or bicubic"
        yield Problem("silent_wrong", reason, remedy, BEFORE_11_2)
    if len(c.shapes.get(node.input[0], ())) == 5:
        yield Problem("error", "5-D (volumetric) GridSample fails (TensorRT#3207)", "sample slices in 4-D", BEFORE_11_2)


def _scatter_nd(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    reduction = attribute(node, "reduction", None)
    remedy = "replace the scatter by gathers and sums"
    if reduction not in (None, "none"):
        reason = f"reduction '{reduction}' is not read: values overwrite each other (TensorRT#3750)"
        yield Problem("silent_wrong", reason, remedy, TENSORRT_8)
        yield Problem("error", f"reduction '{reduction}' is not supported", remedy, LATER)
    elif reduction == "none":
        reason = "attribute reduction is refused before 10.9, even 'none'"
        yield Problem("error", reason, "remove it (the TorchScript exporter does not write it)", ("10.3",))


def _scatter_elements(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    reduction = attribute(node, "reduction", "none")
    if reduction != "none":
        remedy = "replace the scatter by gathers and sums"
        reason = f"reduction '{reduction}' is not read: values overwrite each other"
        yield Problem("silent_wrong", reason, remedy, TENSORRT_8)
        yield Problem("warning", f"reduction '{reduction}' runs through a plugin of libnvinfer_plugin", remedy, LATER)


def _topk(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    known = len(node.input) > 1 and node.input[1]
    k = c.values.get(node.input[1]) if known else None
    if not known or (k is not None and k.size == 0):
        yield Problem("error", "K is missing", "give K as an initializer")
    elif k is None:
        yield Problem("error", "K is no constant", "give K as an initializer", (OLDEST,))
    elif int(k.reshape(-1)[0]) > TOPK_LIMIT:
        yield Problem("error", f"K = {int(k.reshape(-1)[0])} is over {TOPK_LIMIT}", f"use at most {TOPK_LIMIT}")
    elif int(k.reshape(-1)[0]) == TOPK_LIMIT:
        reason = f"K = {TOPK_LIMIT} is the limit, and the documents differ on whether it is allowed"
        yield Problem("warning", reason, f"use fewer than {TOPK_LIMIT}")
    if not attribute(node, "sorted", 1):
        yield Problem("error", "sorted = 0 is not supported", "set sorted = 1", LATER)


def _quantize(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    scale = c.values.get(node.input[1])
    if node.input[1] not in c.constants:
        yield Problem("error", "the scale is no constant", "give the scale as an initializer")
    if scale is not None and not (np.isfinite(scale.astype(np.float64)).all() and (scale > 0).all()):
        yield Problem("error", "a scale is not a positive number", "calibrate again: a zero range gives scale 0")
    if c.types.get(node.input[1]) == TensorProto.FLOAT16:
        yield Problem("error", "FP16 scales are not accepted", "use FP32 scales (the weak emission)", TENSORRT_8)
    kind = c.types.get(node.input[0], TensorProto.UNDEFINED)
    if node.op_type == "DequantizeLinear" and kind not in (*_QUANTIZED, TensorProto.UNDEFINED):
        word = TensorProto.DataType.Name(kind)
        remedy = "leave the bias in float: its Q/DQ nodes out, and the float bias in the convolution"
        yield Problem("error", f"its input is {word}: only activation types are dequantised", remedy)
    activation = node.op_type == "QuantizeLinear" and node.input[0] not in c.constants
    if scale is not None and scale.size > 1 and activation:
        yield Problem("error", "per-axis scales on an activation", "quantise activations per tensor")
    zero = node.input[2] if len(node.input) > 2 else ""
    if not zero:
        remedy = "write an INT8 zero point of 0"
        if kind not in _QUANTIZED:
            remedy = "quantise to INT8 with a zero point of 0: a missing one means UINT8"
        yield Problem("error", "the zero point is missing", remedy, TENSORRT_8)
        return
    value = c.values.get(zero)
    if value is not None and value.astype(np.int64).any():
        yield Problem("error", "the zero point is not 0", "quantise symmetrically")
    if c.types.get(zero) == TensorProto.UINT8:
        yield Problem("error", "the zero point is UINT8", "quantise to INT8", TENSORRT_8)
        yield Problem("silent_wrong", "a UINT8 zero point is read as INT8", "quantise to INT8", LATER)


_QUANTIZED = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN}


def _einsum(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    equation = str(attribute(node, "equation", ""))
    terms = equation.split("->")[0].replace(" ", "").split(",")
    remedy = "write it as MatMul, Transpose and Reshape"
    if any(character.isupper() for character in equation):
        yield Problem("error", f"letters of '{equation}' are capitals", "write it in small letters")
    if "..." in equation:
        yield Problem("error", "Einsum with an ellipsis is not supported", remedy, TENSORRT_8)
        yield Problem("warning", "Einsum with an ellipsis is refused by some importers", remedy, LATER)
    if any(len(set(term)) < len(term.replace(".", "")) for term in terms if "..." not in term):
        yield Problem("error", "Einsum over a diagonal is not supported", remedy, TENSORRT_8)


def _data_dependent(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    yield Problem("error", "the shape of its output depends on the data: no static shapes, no CUDA graph",
                  "use TopK with a fixed K, or do it outside the network")  # fmt: skip


def _computes_in_fp32(c: Context, name: str) -> bool:
    """Whether what makes a tensor runs in FP32: not a cast of FP16, around which a kernel may be fused in FP16."""
    if c.precision != "graph" or c.types.get(name) != TensorProto.FLOAT:
        return c.precision == "fp32"
    maker = c.producers.get(name)
    return maker is not None and maker.op_type != "Cast"


def _softmax(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    shape = c.shapes.get(node.input[0], ())
    axis = int(attribute(node, "axis", -1))
    if shape and not -len(shape) <= axis < len(shape):
        yield Problem("error", f"axis {axis} of a tensor of {len(shape)} axes", "name an axis that it has")
    elif shape and shape[axis] >= FP16_MAX and not _computes_in_fp32(c, node.input[0]):
        reason = f"{shape[axis]} keys: FP16 attention gives NaN from about {FP16_MAX} on (tier4/autoware-ml#95)"
        yield Problem("silent_wrong", reason, "use a smaller map, or keep this attention in FP32")


def _reduce_mean(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    """The variance of a decomposed LayerNorm: Pow (or Mul by itself), ReduceMean, Add, Sqrt."""
    square = c.producers.get(node.input[0])
    squared = square is not None and (
        square.op_type == "Pow" or (square.op_type == "Mul" and square.input[0] == square.input[1])
    )
    after = [n for r in c.consumers.get(node.output[0], ()) for n in (r, *c.consumers.get(r.output[0], ()))]
    if squared and any(n.op_type in ("Sqrt", "Reciprocal") for n in after):
        declared = c.types.get(node.input[0]) == TensorProto.FLOAT16
        reason = "decomposed LayerNorm: its squares overflow in FP16 (TensorRT#2564)"
        where = "cast its input to FP32" if declared else "build these layers in FP32"
        remedy = f"{where}, or export LayerNormalization at opset 17 (from 8.6 on)"
        yield Problem("silent_wrong" if declared else "warning", reason, remedy)


_SLICES = "take the largest (or the mean) of slices, one for each place of the window"


def _pool(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield Problem("error", "the output Indices is not supported", "do not use the indices")
    if any(d != 1 for d in attribute(node, "dilations", [])):  # asserted in the importers of 8.5, 8.6 and 10.1
        yield Problem("error", "dilations are not supported", _SLICES)


def _norm_of_order(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "p", 2) not in {1, 2}:
        yield Problem("error", f"p = {attribute(node, 'p', 2)} is not supported", "write it with Abs, Pow and a sum")


def _arg_max(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "select_last_index", 0) and c.opset < SELECT_LAST_SINCE:
        yield Problem("error", f"select_last_index came with opset {SELECT_LAST_SINCE}", "export at a later opset")


def _mod(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    kind = c.types.get(node.input[0], TensorProto.UNDEFINED)
    if not attribute(node, "fmod", 0) and kind not in (*_WHOLE, TensorProto.UNDEFINED):
        # fmod itself would take the sign of the dividend: other numbers where one of the two is negative.
        remedy = "write it as a - b * Floor(a / b)" if kind in _FLOATS else "cast it to INT32, and back"
        yield Problem("error", "Mod of other numbers than INT32 and INT64 needs fmod", remedy, LATER)


def _range(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    kind = c.types.get(node.input[0], TensorProto.UNDEFINED)
    if kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        yield Problem("error", f"Range of {TensorProto.DataType.Name(kind)} is not supported", "use FP32 or INT32")
    elif not all(_is_known(c, name) for name in node.input):
        yield Problem("error", "its limits are no constants, and so its size is not known", "give them as initializers")


def _tensor_scatter(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "mode", "linear") != "linear":
        yield Problem("error", f"mode '{attribute(node, 'mode', '')}' is not supported", "use linear")
    remedy = "make the cache an input with batch, head, sequence and width"
    if len(c.shapes.get(node.input[0], (0,) * 4)) != 4:
        yield Problem("error", "the cache has to have 4 axes", remedy)
    if node.input[0] not in {info.name for info in c.inputs}:
        yield Problem("error", "the cache is no input of the network", remedy)


def _roi_align(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "sampling_ratio", 0) < 0:
        yield Problem("error", "its sampling ratio is negative", "give 0 or more")


def _lstm(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "input_forget", 0):
        yield Problem("error", "input_forget is not supported", "train it without")


def _constant(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    found = {a.name for a in node.attribute} & {"sparse_value", "value_string", "value_strings"}
    if found:
        yield Problem("error", f"{found.pop()} is not supported", "give its values as a dense tensor")


def _resize(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    mode = attribute(node, "mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):  # cubic is in the importers, not in the documents
        yield Problem("error", f"mode '{mode}' is not supported", "use nearest, linear or cubic")
    transform = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if transform in ("tf_crop_and_resize", "half_pixel_symmetric"):
        yield Problem("error", f"{transform} is not supported", "use half_pixel or align_corners")
    if attribute(node, "antialias", 0):
        yield Problem("error", "antialiasing is not supported", "resize without it", LATER)
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        yield Problem("error", "its aspect ratio policy is not supported", "give the sizes themselves (stretch)", LATER)
    loose = [name for name in node.input[2:4] if name and not _is_known(c, name)]
    if loose:
        yield Problem("error", f"'{loose[0]}' is no constant", "give scales or sizes as an initializer")


def _is_known(c: Context, name: str, unfolded: frozenset[str] = frozenset()) -> bool:
    """Whether a tensor is known when an engine is built: a constant, or arithmetic on constants and shapes.

    `unfolded` are operators that the importer does not compute itself.
    """
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop()
        node = c.producers.get(one)
        if one in c.constants or one in seen or not one:
            continue
        if node is None or node.op_type in unfolded:
            return False
        seen.add(one)
        waiting += [] if node.op_type in ("Shape", "Size") else list(node.input)
    return True


def _batch_norm(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if attribute(node, "training_mode", 0):
        yield Problem("error", "it is in training mode", "export the network in evaluation mode (network.eval())")


def _dropout(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    mode = c.values.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    remedy = "export the network in evaluation mode (network.eval())"
    if len(node.input) > 2 and node.input[2] and node.input[2] not in c.constants:
        yield Problem("error", "its training mode is no constant", remedy, LATER)
    if mode is not None and np.any(mode):
        yield Problem("error", "it is in training mode", remedy, LATER)
        yield Problem("silent_wrong", "it is in training mode, and runs as if it were not", remedy, TENSORRT_8)


def _attention(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if any(node.output[1:]):
        yield Problem("error", "only the first output is supported", "keep keys and values outside of it")
    if attribute(node, "softmax_precision", 0):
        yield Problem("error", "softmax_precision is not supported", "leave it out")
    if attribute(node, "softcap", 0.0):
        yield Problem("error", "softcap is not supported", "leave it out, or export at opset 17, where it decomposes")
    if c.shapes.get(node.input[1]) != c.shapes.get(node.input[2]):
        yield Problem("error", "keys and values of different shapes are not supported", "export at opset 17")
    plain = len(c.shapes.get(node.input[0], ())) == 3 and not any(node.input[3:])
    if c.types.get(node.input[0]) == TensorProto.FLOAT and not plain:
        reason = "attention in FP32 has no kernel, and is not taken apart"
        yield Problem("error", reason, "export it in FP16, or at opset 17, where it decomposes")


def _layer_norm(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if any(node.output[1:]):  # named is enough, read or not
        yield Problem("error", "only the first output is supported", "compute mean and variance apart", LATER)


def _warn(reason: str, remedy: str, versions: tuple[str, ...] = ()) -> Callable[..., Iterator[Problem]]:
    def rule(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
        yield Problem("warning", reason, remedy, versions)

    return rule


def _known_input(index: int, what: str, unfolded: frozenset[str] = frozenset()) -> Rule:
    """An input, where it is given, that the importer has to know when the engine is built."""

    def rule(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
        name = node.input[index] if len(node.input) > index else ""
        if name and not _is_known(c, name, unfolded):
            yield Problem("error", f"its {what} no constant", "give it as an initializer")

    return rule


_reduce_axes = _known_input(1, "axes are", frozenset({"Range"}))
_loop = _warn("control flow blocks CUDA graphs and fusion", "unroll it when exporting")
RULES: dict[str, tuple[Rule, ...]] = {
    "GridSample": (_grid_sample,),
    "ScatterND": (_scatter_nd,),
    "ScatterElements": (_scatter_elements,),
    "TopK": (_topk,),
    "QuantizeLinear": (_quantize,),
    "DequantizeLinear": (_quantize,),
    "Einsum": (_einsum,),
    "NonZero": (_data_dependent,),
    "NonMaxSuppression": (_data_dependent,),
    "Softmax": (_softmax,),
    **dict.fromkeys(
        (
            "ReduceSum",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSum",
            "ReduceLogSumExp",
        ),
        (_reduce_axes,),
    ),
    "ReduceMean": (_reduce_mean, _reduce_axes),
    "MaxPool": (_pool,),
    "AveragePool": (_pool,),
    "LpPool": (_norm_of_order, _pool),
    "LpNormalization": (_norm_of_order,),
    "ArgMax": (_arg_max,),
    "ArgMin": (_arg_max,),
    "RoiAlign": (_roi_align,),
    "LSTM": (_lstm,),
    "Constant": (_constant,),
    "Mod": (_mod,),
    "Squeeze": (_known_input(1, "axes are"),),
    "Unsqueeze": (_known_input(1, "axes are"),),
    "OneHot": (_known_input(1, "depth is"),),
    "Range": (_range,),
    "TensorScatter": (_tensor_scatter,),
    "STFT": (_known_input(1, "step is"),),
    "Upsample": (_known_input(1, "scales are"),),
    "Resize": (_resize,),
    "LayerNormalization": (_layer_norm,),
    "BatchNormalization": (_batch_norm,),
    "Dropout": (_dropout,),
    "Attention": (_attention,),
    "CumSum": (_warn("CumSum is imported as a loop: slow, and no fusion", "use gathers and sums"),),
    "InstanceNormalization": (
        _warn("runs through a plugin unless native instance normalisation is set", "set the flag", TENSORRT_8),
    ),
    "Loop": (_loop,),
    "If": (_loop,),
    "Scan": (_loop,),
}
"""The rules by operator; a node is checked by them after the table has accepted its operator."""
