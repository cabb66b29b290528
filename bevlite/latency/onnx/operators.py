"""Which ONNX operators the fusion rules treat alike."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


GEMM_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
"""Kernels of multiply-adds: they take elementwise work behind them into their own store."""

CONV_OPS = frozenset({"Conv", "ConvTranspose"})
LINEAR_OPS = frozenset({"BatchNormalization", "Add", "Sub", "Sum", "Cast"})
"""What may stand between a convolution and its residual addition."""

POINTWISE_OPS = _names(
    """
    Abs Add And Cast CastLike Ceil Celu Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater
    GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min
    Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus
    Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor BatchNormalization Shrink
    Atan Acos Acosh Asin Asinh Atanh Cosh Sinh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    """
)
"""One value in, one value out: chains of these become one kernel, or the tail of another."""

VIEW_OPS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
"""Another reading of the same memory: no kernel."""

COMMUTING_OPS = VIEW_OPS | frozenset(
    {"MaxPool", "Relu", "Transpose", "Slice", "Split", "Gather", "Pad", "DepthToSpace", "SpaceToDepth"}
)
"""They pick or move values: DequantizeLinear may as well stand behind them."""

REDUCE_OPS = _names(
    """
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare
    ReduceLogSum ReduceLogSumExp ArgMax ArgMin
    """
)
NORM_OPS = _names(
    """
    Softmax LogSoftmax LayerNormalization InstanceNormalization GroupNormalization RMSNormalization
    LpNormalization Hardmax
    """
)
POOL_OPS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "LpPool", "GlobalLpPool"})
COPY_OPS = _names("Transpose Concat Slice Split Pad Tile Expand DepthToSpace SpaceToDepth Trilu ReverseSequence")
MOVE_OPS = COPY_OPS - {"Concat", "Trilu", "ReverseSequence"}
"""Copies that an elementwise kernel can do on its way."""
GATHER_OPS = frozenset({"Gather", "GatherElements", "GatherND", "GridSample"})
RESIZE_OPS = frozenset({"Resize", "Upsample"})
QUANTIZE_OPS = frozenset({"QuantizeLinear", "DequantizeLinear"})

RECURRENT_OPS = frozenset({"LSTM", "GRU", "RNN"})

UNCERTAIN_OPS = {
    **dict.fromkeys(sorted(RECURRENT_OPS), "recurrent layers were not measured"),
    "Gather": "no published Gather figure on Orin",
    "GatherElements": "no published Gather figure on Orin",
    "GatherND": "no published Gather figure on Orin",
    "GridSample": "GridSample is reported as unusually slow on Orin (TensorRT#4246)",
    "ScatterND": "scattered writes were not measured",
    "ScatterElements": "scattered writes were not measured",
    "TensorScatter": "scattered writes were not measured",
    "TopK": "TopK was not measured",
    "CumSum": "CumSum becomes a loop in TensorRT",
    "NonMaxSuppression": "NMS depends on the data",
    "DeformConv": "DeformConv was not measured",
}
"""Modelled, but covered by no published row: they widen the interval."""

KNOWN_OPS = frozenset().union(
    GEMM_OPS,
    POINTWISE_OPS,
    VIEW_OPS,
    REDUCE_OPS,
    NORM_OPS,
    POOL_OPS,
    COPY_OPS,
    RESIZE_OPS,
    QUANTIZE_OPS,
    UNCERTAIN_OPS,
    _names("Shape Size ConstantOfShape Range Constant OneHot"),
)
"""Everything else counts as memory traffic, is flagged, and widens the interval."""
