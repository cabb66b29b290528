"""What NVIDIA's compiler made of an ONNX file: taken or not, by which errors, and the layers that would run."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import Field

from bevlite.config import Config

Verdict = Literal["taken", "refused", "none"]
"""`none`: the compiler had no word on the file itself (it crashed, ran out of time or memory, met a plugin)."""
Stage = Literal["parse", "build"]
Bytes = Annotated[int, Field(ge=0, le=10**15)]

BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "uint8": 1.0, "bool": 1.0, "int32": 4.0, "int64": 8.0,
         "fp8": 1.0, "int4": 0.5, "fp4": 0.5}  # fmt: skip
"""Bytes an element."""
PRODUCTS = frozenset({"correlation", "deconv", "gemm"})
"""Layer types that are one product: convolution, transposed convolution, matrix product."""
FUSED_PRODUCTS = frozenset({"runtime_fusion"})
"""Layer types that hold a product among other work."""
GENERATED_PRODUCT = "_gemm"
"""How names of generated kernels around products begin: `_gemm_mha_v2` is an attention."""
NO_KERNEL = frozenset({"signal", "wait", "jmp", "cjmp"})
"""Layer types that order the others and run nothing."""


class BuiltTensor(Config):
    """One input, constant or output of a layer, or of the whole graph.

    Attributes:
        name: as the compiler calls it.
        shape: without strides.
        dtype: `fp32`, `fp16`, `int8`, `int32`...
        layout: `linear`, `nhwc`, `transposed`, or the log's own word; empty where the log says none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = ""

    @property
    def bytes(self) -> float:
        """Size in bytes (unknown types count four an element)."""
        return prod(self.shape) * BYTES.get(self.dtype, 4.0)


class BuiltLayer(Config):
    """One layer of the engine.

    Attributes:
        name: as the compiler calls it.
        kind: its type in the log: `correlation` (convolution), `deconv`, `gemm`, `kgen` (a generated kernel), ...
        inputs: of other layers or of the graph.
        constants: weights and literals.
        outputs: what it writes.
        nodes: names of the ONNX nodes that went into it; `node_of_X` for a node without name that writes X.
        tactic: the kernel, where the log names one.
        stream: the CUDA stream that it runs in.
    """

    name: str
    kind: str
    inputs: tuple[BuiltTensor, ...] = ()
    constants: tuple[BuiltTensor, ...] = ()
    outputs: tuple[BuiltTensor, ...] = ()
    nodes: tuple[str, ...] = ()
    tactic: str = ""
    stream: int = 0

    @property
    def is_kernel(self) -> bool:
        """Whether it runs anything."""
        return self.kind not in NO_KERNEL

    @property
    def is_product(self) -> bool:
        """Whether it multiplies matrices: a convolution, a matrix product, or a kernel with one inside."""
        return self.kind in PRODUCTS or self.kind in FUSED_PRODUCTS or self.name.startswith(GENERATED_PRODUCT)

    @property
    def runs_int8(self) -> bool:
        """Whether it is a product whose operands are both INT8: input and weight, or two inputs (attention: all)."""
        if not self.is_product or not self.inputs or self.inputs[0].dtype != "int8":
            return False
        if self.name.startswith(GENERATED_PRODUCT):
            return all(tensor.dtype == "int8" for tensor in self.inputs)
        others = (*self.inputs[1:2], *self.constants[:1])
        return any(tensor.dtype == "int8" for tensor in others)

    @property
    def multiplies_in(self) -> str:
        """The type that it computes in: `int8`, or that of its first operand in float; empty where it has none."""
        if self.runs_int8:
            return "int8"
        tensors = (*self.inputs, *self.constants, *self.outputs)
        floats = (tensor.dtype for tensor in tensors if tensor.dtype.startswith(("fp", "bf")))
        return next(floats, self.inputs[0].dtype if self.inputs else "")

    @property
    def bytes(self) -> float:
        """Bytes read and written, every tensor once."""
        return sum(t.bytes for t in (*self.inputs, *self.constants, *self.outputs))


class CompilerError(Config):
    """One error of the parser or the builder.

    Attributes:
        stage: who said it.
        code: the parser's word for the kind, such as `UNSUPPORTED_NODE`; empty of the builder.
        node: name of the ONNX node, where it is known.
        op: its operator.
        reason: what was said, in one line.
    """

    stage: Stage
    code: str = ""
    node: str = ""
    op: str = ""
    reason: str

    @property
    def where(self) -> str:
        """The node with its operator, as a message names it."""
        if self.node and self.op:
            return f"{self.node} ({self.op})"
        return self.node or self.op


class Memory(Config):
    """Memory of the engine as the log counts it, in bytes; None where the log does not."""

    activations: Bytes | None = None
    weights: Bytes | None = None
    scratch: Bytes | None = None


class BuiltGraph(Config):
    """NVIDIA's word on one ONNX file.

    Attributes:
        source: the file, or the name of the graph.
        compiler: version of TensorRT for RTX.
        capability: compute capability that it was compiled for.
        verdict: `taken`, `refused`, or `none` where nothing can be said; then `errors` says why.
        errors: of the parser and the builder.
        layers: in the order in which they run; empty unless taken.
        inputs: of the whole graph.
        outputs: of the whole graph.
        memory: what the log counts.
        seconds: how long it took.
        unread: why the layers could not be read from the log; empty where they were.
    """

    source: str
    compiler: str
    capability: str
    verdict: Verdict
    errors: tuple[CompilerError, ...] = ()
    layers: tuple[BuiltLayer, ...] = ()
    inputs: tuple[BuiltTensor, ...] = ()
    outputs: tuple[BuiltTensor, ...] = ()
    memory: Memory = Memory()
    seconds: float = 0.0
    unread: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the parser and the builder took the file."""
        return self.verdict == "taken"

    @property
    def kernels(self) -> tuple[BuiltLayer, ...]:
        """The layers that run something."""
        return tuple(layer for layer in self.layers if layer.is_kernel)

    def int8_layers(self) -> tuple[BuiltLayer, ...]:
        """The products (convolutions, matrix products) that run in INT8."""
        return tuple(layer for layer in self.layers if layer.runs_int8)

    def layer_of(self, node: str) -> BuiltLayer | None:
        """The product that an ONNX node went into; else the last layer that names it; None where no layer does."""
        found = [layer for layer in self.layers if node in layer.nodes]
        return next((layer for layer in found if layer.is_product), found[-1] if found else None)
