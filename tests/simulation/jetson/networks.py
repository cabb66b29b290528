"""Small networks for the emulated builder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT8 = TensorProto.FLOAT, TensorProto.INT8


def _save(path: Path, nodes: list[onnx.NodeProto], shape: list[int], out: list[int], weights: dict[str, np.ndarray],
          dtype: int = FLOAT, opset: int = 17) -> Path:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info("scores", dtype, out)],
        [numpy_helper.from_array(v, n) for n, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="test")
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def _weights(dtype: type[np.generic] = np.float32) -> dict[str, np.ndarray]:
    source = np.random.default_rng(3)
    shapes = {"w1": (32, 3, 3, 3), "b1": (32,), "w2": (32, 1, 3, 3), "w3": (64, 32, 1, 1), "w4": (64, 10)}
    return {n: source.normal(0, 0.3, s).astype(dtype) for n, s in shapes.items()}


def convolutional(path: Path, last: str | None = None, half: bool = False, size: int = 64) -> Path:
    """Conv, depthwise with a residual, SiLU, pooling, a product; `last` is one more operator at the end."""
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "w1", "b1"], ["a"], name="/stem/Conv", pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["a"], ["b"], name="/stem/Relu"),
        node("Conv", ["b", "w2"], ["c"], name="/dw/Conv", group=32, pads=[1] * 4),
        node("Add", ["c", "b"], ["d"], name="/Add"),
        node("Conv", ["d", "w3"], ["e"], name="/pw/Conv"),
        node("Sigmoid", ["e"], ["f"], name="/act/Sigmoid"),
        node("Mul", ["e", "f"], ["g"], name="/act/Mul"),
        node("MaxPool", ["g"], ["h"], name="/pool/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["h"], ["i"], name="/gap/GlobalAveragePool"),
        node("Flatten", ["i"], ["j"], name="/Flatten"),
        node("MatMul", ["j", "w4"], ["k" if last else "scores"], name="/fc/MatMul"),
    ]
    if last:
        nodes.append(node(last, ["k"], ["scores"], name=f"/{last}"))
    dtype = TensorProto.FLOAT16 if half else FLOAT
    weights = _weights(np.float16 if half else np.float32)
    return _save(path, nodes, [1, 3, size, size], [1, 10], weights, dtype)


def quantized(path: Path, zero_points: bool = True) -> Path:
    """One convolution with Q/DQ on its input and its weight, then a Relu."""
    node = helper.make_node
    weights = {
        "w": np.random.default_rng(1).normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "s": np.array(0.02, np.float32), "sw": np.array(0.005, np.float32), "z": np.array(0, np.int8),
    }  # fmt: skip
    zero = ["z"] if zero_points else []
    nodes = [
        node("QuantizeLinear", ["images", "s", *zero], ["q"], name="/q"),
        node("DequantizeLinear", ["q", "s", *zero], ["x"], name="/dq"),
        node("QuantizeLinear", ["w", "sw", *zero], ["wq"], name="/wq"),
        node("DequantizeLinear", ["wq", "sw", *zero], ["wx"], name="/wdq"),
        node("Conv", ["x", "wx"], ["y"], name="/Conv", pads=[1] * 4),
        node("Relu", ["y"], ["scores"], name="/Relu"),
    ]
    if not zero_points:
        del weights["z"]
    return _save(path, nodes, [1, 3, 32, 32], [1, 16, 32, 32], weights)


def attention(path: Path) -> Path:
    """MatMul, scale, Softmax, MatMul: one fused attention."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["images"], ["t"], name="/Transpose", perm=[0, 2, 1]),
        node("MatMul", ["images", "t"], ["a"], name="/qk/MatMul"),
        node("Mul", ["a", "scale"], ["b"], name="/scale/Mul"),
        node("Softmax", ["b"], ["c"], name="/Softmax", axis=-1),
        node("MatMul", ["c", "images"], ["scores"], name="/av/MatMul"),
    ]
    return _save(path, nodes, [8, 256, 64], [8, 256, 64], {"scale": np.array(0.125, np.float32)})
