"""Small networks with Q/DQ nodes, placed well and placed badly: what a compiler does with each is compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MAP = (1, 64, 40, 40)
"""Shape of the input map (batch, channels, y, x)."""


@dataclass
class Network:
    """A network put together node by node; every method returns the name of what it made.

    Scales are initialisers of their own unless `scale` names one that is there; types follow `half`.
    """

    half: bool = False
    channels: dict[str, int] = field(default_factory=lambda: {"x": MAP[1]})
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": MAP})
    values: Any = field(default_factory=lambda: np.random.default_rng(0))

    def constant(self, name: str, values: Any) -> str:
        """An initialiser (floats in the type of the network)."""
        array = np.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float16 if self.half else np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, *sources: str, name: str = "", **attributes: Any) -> str:
        """One operator; its output is called like it."""
        name = name or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(sources), [name], name=f"/{name}", **attributes))
        self.channels[name] = self.channels.get(sources[0], 0) if sources else 0
        return name

    def qdq(self, source: str, scale: str = "", value: float = 0.05) -> str:
        """Q and DQ of an activation, with a scale of its own or the named one."""
        scale = scale or self.constant(f"scale{len(self.constants)}", value)
        zero = self._zero(())
        return self.node("DequantizeLinear", self.node("QuantizeLinear", source, scale, zero), scale, zero)

    def weight(self, shape: tuple[int, ...], *, axis: int | None = 0, held: bool = True) -> str:
        """A weight with Q and DQ (`axis` None: per tensor), or without."""
        name = self.constant(f"weight{len(self.constants)}", self.values.normal(0, 0.05, shape))
        if not held:
            return name
        width = () if axis is None else (shape[axis],)
        scale, zero = self.constant(f"{name}_scale", np.full(width, 0.002)), self._zero(width)
        more = {} if axis is None else {"axis": axis}
        quantized = self.node("QuantizeLinear", name, scale, zero, **more)
        return self.node("DequantizeLinear", quantized, scale, zero, **more)

    def conv(
        self,
        source: str,
        out: int = 0,
        kernel: int = 3,
        *,
        groups: int = 1,
        stride: int = 1,
        held: bool = True,
        per_tensor: bool = False,
        name: str = "",
    ) -> str:
        """A convolution with a bias."""
        into = self.channels[source]
        out = out or into
        shape = (out, into // groups, kernel, kernel)
        weight = self.weight(shape, axis=None if per_tensor else 0, held=held)
        bias = self.constant(f"bias{len(self.constants)}", self.values.normal(0, 0.1, (out,)))
        pads = [kernel // 2] * 4
        made = self.node("Conv", source, weight, bias, name=name, pads=pads, group=groups, strides=[stride] * 2)
        self.channels[made] = out
        return made

    def relu(self, source: str) -> str:
        """ReLU."""
        return self.node("Relu", source)

    def silu(self, source: str) -> str:
        """SiLU, as the exporter writes it."""
        return self.node("Mul", source, self.node("Sigmoid", source))

    def linear(self, source: str, into: int, out: int, *, held: bool = True, name: str = "") -> str:
        """A matrix product with a weight."""
        return self.node("MatMul", source, self.weight((into, out), axis=1, held=held), name=name)

    def model(self, *outputs: str, opset: int = 19) -> onnx.ModelProto:
        """The network as a file (raises onnx's error where it is invalid)."""
        kind = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        made = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, kind, shape) for name, shape in self.inputs.items()],
            made,
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        onnx.checker.check_model(model)
        return model

    def _zero(self, shape: tuple[int, ...]) -> str:
        return self.constant(f"zero{len(self.constants)}", np.zeros(shape, np.int8))


def _chain(**how: Any) -> onnx.ModelProto:
    net = Network(**{key: value for key, value in how.items() if key == "half"})
    per_tensor = bool(how.get("per_tensor"))
    first = net.relu(net.conv(net.qdq("x"), per_tensor=per_tensor, name="first"))
    return net.model(net.relu(net.conv(net.qdq(first), per_tensor=per_tensor, name="second")))


def _residual(*, skip: bool, branch: bool) -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.qdq("x"), name="before"))
    held = net.qdq(x)
    last = net.conv(net.qdq(net.relu(net.conv(held, name="first"))), name="last")
    added = net.node("Add", net.qdq(last) if branch else last, held if skip else x, name="added")
    return net.model(net.conv(net.qdq(net.relu(added)), name="after"))


def _concat(*, shared: bool) -> onnx.ModelProto:
    net = Network()
    scale = net.constant("shared", 0.05) if shared else ""
    held = net.qdq("x")
    branches = [net.relu(net.conv(held, name=name)) for name in ("left", "right")]
    parts = [net.qdq(b, scale, value) for b, value in zip(branches, (0.05, 0.2), strict=True)]
    joined = net.node("Concat", *parts, name="joined", axis=1)
    net.channels[joined] = 2 * MAP[1]
    return net.model(net.conv(net.qdq(joined, scale), 64, 1, name="after"))


def _grouped(groups: int, *, silu: bool = False) -> onnx.ModelProto:
    net = Network()
    x = net.qdq(net.relu(net.conv(net.qdq("x"), kernel=1, name="expand")))
    grouped = net.conv(x, groups=groups, name="grouped")
    return net.model(net.conv(net.qdq(net.silu(grouped) if silu else net.relu(grouped)), kernel=1, name="project"))


def _transposed() -> onnx.ModelProto:
    net = Network()
    x = net.qdq(net.relu(net.conv(net.qdq("x"), name="before")))
    weight = net.weight((64, 64, 2, 2), axis=1)
    up = net.node("ConvTranspose", x, weight, name="up", strides=[2, 2])
    return net.model(net.conv(net.qdq(net.relu(up)), name="after"))


def _pool(op: str, **attributes: Any) -> onnx.ModelProto:
    net = Network()
    scale = net.constant("shared", 0.05)
    x = net.qdq(net.relu(net.conv(net.qdq("x"), name="before")), scale)
    pooled = net.node(op, x, name="pooled", **attributes)
    return net.model(net.conv(net.qdq(pooled, scale), kernel=1, name="after"))


def _squeeze_excite(*, gate: bool) -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.qdq("x"), name="before"))
    held = net.qdq(x)
    squeezed = net.node("GlobalAveragePool", held if gate else x, name="squeezed")
    reduced = net.relu(net.conv(net.qdq(squeezed), 16, 1, name="reduce"))
    factor = net.node("Sigmoid", net.conv(net.qdq(reduced), 64, 1, name="expand"))
    scaled = net.node("Mul", held if gate else x, net.qdq(factor) if gate else factor, name="scaled")
    return net.model(net.conv(net.qdq(scaled), name="after"))


def _attention(*, products: bool) -> onnx.ModelProto:
    net = Network(inputs={"x": (1, 256, 64)}, channels={"x": 64})
    held = net.qdq("x")
    heads = []
    for word in ("query", "key", "value"):
        flat = net.linear(held, 64, 64, name=word)
        shape = net.constant(f"{word}_shape", np.array([1, 256, 2, 32]))
        order = [0, 2, 3, 1] if word == "key" else [0, 2, 1, 3]
        heads.append(net.node("Transpose", net.node("Reshape", flat, shape), perm=order))
    query, key, value = (net.qdq(head) if products else head for head in heads)
    weights = net.node("Softmax", net.node("Mul", net.node("MatMul", query, key, name="scores"),
                                           net.constant("factor", 0.18)), axis=-1)  # fmt: skip
    mixed = net.node("MatMul", net.qdq(weights, value=1 / 127) if products else weights, value, name="mix")
    back = net.node(
        "Reshape", net.node("Transpose", mixed, perm=[0, 2, 1, 3]), net.constant("flat", np.array([1, 256, 64]))
    )
    return net.model(net.linear(net.qdq(back), 64, 64, name="out"))


def _heads() -> onnx.ModelProto:
    net = Network()
    held = net.qdq(net.relu(net.conv(net.qdq("x"), name="shared")))
    return net.model(net.conv(held, 10, 1, name="heatmap"), net.conv(held, 2, 1, name="offset"))


def _half_held(*, activation: bool) -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.qdq("x"), name="before"))
    return net.model(net.conv(net.qdq(x) if activation else x, held=not activation, name="half_held"))


def _half_held_linear() -> onnx.ModelProto:
    net = Network(inputs={"x": (256, 64)}, channels={"x": 64})
    x = net.relu(net.linear(net.qdq("x"), 64, 64, name="before"))
    return net.model(net.linear(net.qdq(x), 64, 64, held=False, name="half_held"))


def _fork() -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.qdq("x"), name="before"))
    return net.model(net.conv(net.qdq(x), name="held"), net.conv(x, held=False, name="free"))


def _shared_scale() -> onnx.ModelProto:
    net = Network()
    scale = net.constant("shared", 0.05)
    x = net.relu(net.conv(net.qdq("x", scale), name="before"))
    # Two pairs of their own on one tensor, with one scale.
    left, right = net.conv(net.qdq(x, scale), name="left"), net.conv(net.qdq(x, scale), name="right")
    return net.model(net.node("Add", left, right, name="added"))


def _stem() -> onnx.ModelProto:
    net = Network(inputs={"x": (1, 3, 64, 176)}, channels={"x": 3})
    x = net.relu(net.conv(net.qdq("x"), 64, 7, stride=2, name="stem"))
    pooled = net.node("MaxPool", net.qdq(x), name="pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    return net.model(net.conv(pooled, name="after"))


def _resize() -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.qdq("x"), name="before"))
    sizes = net.constant("factors", np.array([1, 1, 2, 2], np.float32))
    up = net.node("Resize", x, "", sizes, name="up", mode="linear", coordinate_transformation_mode="half_pixel")
    return net.model(net.conv(net.qdq(up), name="after"))


def _activation() -> onnx.ModelProto:
    net = Network()
    x = net.silu(net.conv(net.qdq("x"), name="first"))
    return net.model(net.silu(net.conv(net.qdq(x), name="second")))


def _output() -> onnx.ModelProto:
    net = Network()
    return net.model(net.qdq(net.relu(net.conv(net.qdq("x"), name="first"))))


def _between(op: str, channels: int, **attributes: Any) -> onnx.ModelProto:
    """An operator between DequantizeLinear and a convolution, with no Q/DQ behind it."""
    net = Network()
    x = net.qdq(net.relu(net.conv(net.qdq("x"), name="before")))
    made = net.node(op, x, name="between", **attributes)
    net.channels[made] = channels
    return net.model(net.conv(made, 64, name="after"))


def _sampled() -> onnx.ModelProto:
    net = Network(inputs={"x": MAP, "grid": (1, 20, 20, 2)})
    x = net.qdq(net.relu(net.conv(net.qdq("x"), name="before")))
    sampled = net.node("GridSample", x, "grid", name="sampled", mode="bilinear")
    return net.model(net.conv(net.qdq(sampled), name="after"))


@dataclass(frozen=True)
class QuantizedGraph:
    """One network: its name, what it is, and how it is made."""

    name: str
    about: str
    make: Callable[[], onnx.ModelProto]


GRAPHS = (
    QuantizedGraph("chain", "two convolutions, weights per channel", _chain),
    QuantizedGraph("chain-per-tensor", "two convolutions, weights per tensor", lambda: _chain(per_tensor=True)),
    QuantizedGraph("chain-fp16", "two convolutions, FP16 scales", lambda: _chain(half=True)),
    QuantizedGraph("residual-skip", "residual, Q/DQ on the skip", lambda: _residual(skip=True, branch=False)),
    QuantizedGraph("residual-none", "residual, Q/DQ on neither", lambda: _residual(skip=False, branch=False)),
    QuantizedGraph("residual-both", "residual, Q/DQ on both", lambda: _residual(skip=True, branch=True)),
    QuantizedGraph("residual-branch", "residual, Q/DQ on the branch", lambda: _residual(skip=False, branch=True)),
    QuantizedGraph("concat-one-scale", "concatenation, one scale", lambda: _concat(shared=True)),
    QuantizedGraph("concat-two-scales", "concatenation, two scales", lambda: _concat(shared=False)),
    QuantizedGraph("depthwise", "depthwise convolution and ReLU", lambda: _grouped(64)),
    QuantizedGraph("depthwise-silu", "depthwise convolution and SiLU", lambda: _grouped(64, silu=True)),
    QuantizedGraph("grouped", "grouped convolution, 4 channels a group", lambda: _grouped(16)),
    QuantizedGraph("transposed", "transposed convolution, kernel = stride = 2", _transposed),
    QuantizedGraph("max-pool", "max pooling", lambda: _pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2])),
    QuantizedGraph("average-pool", "average pooling",
                   lambda: _pool("AveragePool", kernel_shape=[2, 2], strides=[2, 2])),
    QuantizedGraph("global-pool", "global average pooling", lambda: _pool("GlobalAveragePool")),
    QuantizedGraph("squeeze-excite", "SE block, convolutions held", lambda: _squeeze_excite(gate=False)),
    QuantizedGraph("squeeze-excite-gate", "SE block, the gate held too", lambda: _squeeze_excite(gate=True)),
    QuantizedGraph("attention", "attention, all products held", lambda: _attention(products=True)),
    QuantizedGraph("attention-linear", "attention, only the linear layers held", lambda: _attention(products=False)),
    QuantizedGraph("heads", "heads of 10 and 2 channels", _heads),
    QuantizedGraph("no-weight", "Q/DQ on the input alone", lambda: _half_held(activation=True)),
    QuantizedGraph("no-weight-linear", "linear layer, Q/DQ on the input alone", _half_held_linear),
    QuantizedGraph("no-input", "Q/DQ on the weight alone", lambda: _half_held(activation=False)),
    QuantizedGraph("fork", "Q/DQ missing on one of two readers", _fork),
    QuantizedGraph("shared-scale", "two readers, a pair each, one scale", _shared_scale),
    QuantizedGraph("stem", "stem of 3 channels, max pooling", _stem),
    QuantizedGraph("resize", "bilinear resize before Q/DQ", _resize),
    QuantizedGraph("silu", "two convolutions and SiLU", _activation),
    QuantizedGraph("output", "Q/DQ on the last output", _output),
    QuantizedGraph("relu-behind", "ReLU between DQ and a convolution", lambda: _between("Relu", 64)),
    QuantizedGraph(
        "pixel-shuffle",
        "depth to space between DQ and a convolution",
        lambda: _between("DepthToSpace", 16, blocksize=2),
    ),
    QuantizedGraph("grid-sample", "GridSample between Q/DQ", _sampled),
)  # fmt: skip
"""Every network that is compared."""
