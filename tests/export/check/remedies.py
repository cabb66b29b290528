"""Small files that the operator check speaks against, each with the file that follows its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import onnx.parser

Judge = Literal["runtime", "reference", "by hand"]


@dataclass(frozen=True)
class Case:
    """A remedy tried.

    remedy: as it is printed. before, after: the files, as ONNX text, of the opsets.
    judge: what says which numbers the first file means: ONNX Runtime, ONNX's own reference where that refuses or cannot
    run it, or `expected` where the file says what no standard allows.
    precision: of the check, where the remedy is how the engine is built. not_on: versions that the remedy leaves out.
    """

    remedy: str
    before: str
    after: str
    opset: int = 17
    opset_after: int = 0
    judge: Judge = "runtime"
    feeds: Mapping[str, Any] = field(default_factory=dict)
    expected: tuple[Any, ...] = ()
    tolerance: float = 1e-5
    precision: str = "fp16"
    precision_after: str = ""
    not_on: tuple[str, ...] = ()

    def model(self, after: bool) -> onnx.ModelProto:
        """One of the two files."""
        opset = (self.opset_after or self.opset) if after else self.opset
        head = f'<ir_version: {10 if opset > 20 else 8}, opset_import: ["" : {opset}]> net '
        return onnx.parser.parse_model(head + (self.after if after else self.before))


def net(inputs: str, outputs: str, body: str, constants: str = "") -> str:
    """A graph as ONNX text."""
    return f"({inputs}) => ({outputs}) {f'<{constants}>' if constants else ''} {{ {body} }}"


def numbers(name: str, kind: str, values: Any) -> str:
    """A constant as ONNX text."""
    array = np.asarray(values)
    shape = f"[{','.join(map(str, array.shape))}]" if array.shape else ""
    return f"{kind}{shape} {name} = {{{', '.join(str(value) for value in array.reshape(-1).tolist())}}}"


def ints(**named: Any) -> str:
    """Constants of INT64."""
    return ", ".join(numbers(name, "int64", values) for name, values in named.items())


def halves(**named: float) -> str:
    """Constants of FP16, which the text has as their bits."""
    return ", ".join(numbers(name, "float16", np.float16(value).view(np.uint16)) for name, value in named.items())


def floats(**named: Any) -> str:
    """Constants of FP32."""
    return ", ".join(numbers(name, "float", values) for name, values in named.items())


SIGNED = [-7.5, -3.0, -0.5, 0.0, 0.5, 3.0, 7.5, 100.25]
DIVISORS = [2.0, -2.0, 0.75, 3.0, -0.75, 2.0, -2.0, 7.0]
VOLUME_SIZE, VOLUME_OUT = 4, 3  # of a volume in depth, and of its samples


def mod_cases() -> list[Case]:
    """The sign is that of the divisor, as ONNX's reference computes it (ONNX Runtime takes no such file)."""
    feeds = {"a": np.array(SIGNED, np.float32), "b": np.array(DIVISORS, np.float32)}
    small = {"a": np.array([-7, -3, 5, 100], np.int8), "b": np.array([3, -2, -3, 7], np.int8)}
    ends = "int8[4] a, int8[4] b", "int8[4] y"
    return [
        Case(
            "write it as a - b * Floor(a / b)",
            net("float[8] a, float[8] b", "float[8] y", "y = Mod(a, b)"),
            net("float[8] a, float[8] b", "float[8] y", "q = Div(a, b) f = Floor(q) m = Mul(b, f) y = Sub(a, m)"),
            judge="reference", feeds=feeds,
        ),
        Case(
            "cast it to INT32, and back",
            net(*ends, "y = Mod(a, b)"),
            net(*ends, "p = Cast<to=6>(a) q = Cast<to=6>(b) m = Mod(p, q) y = Cast<to=3>(m)"),
            feeds=small,
        ),
    ]  # fmt: skip


def sampling_cases() -> list[Case]:
    """GridSample by its older words, and a volume by its slices."""
    flat = "float[1,2,4,5] x, float[1,3,3,2] g", "float[1,2,3,3] y"
    deep, points = VOLUME_SIZE, VOLUME_OUT**3
    slices = "".join(f"w{d} = Gather<axis=2>(x, i{d}) s{d} = GridSample(w{d}, flat) " for d in range(deep))
    near = "".join(
        f"o{d} = Sub(z, f{d}) a{d} = Abs(o{d}) n{d} = Sub(one, a{d}) r{d} = Relu(n{d}) " for d in range(deep)
    )
    parts = "".join(f"p{d} = Mul(s{d}, r{d}) " for d in range(deep))
    total = f"t = Sum({', '.join(f'p{d}' for d in range(deep))}) "
    constants = ", ".join(
        (
            ints(**{f"i{d}": d for d in range(deep)}, rows=[1, points, 1, 2], column=[1, 1, points, 1]),
            ints(xy=[0, 1], last=[2], out=[1, 2, VOLUME_OUT, VOLUME_OUT, VOLUME_OUT]),
            floats(**{f"f{d}": float(d) for d in range(deep)}, one=1.0, scale=deep / 2.0, shift=(deep - 1) / 2.0),
        )
    )
    body = (
        "gxy = Gather<axis=-1>(g, xy) flat = Reshape(gxy, rows) gz = Gather<axis=-1>(g, last) zr = Reshape(gz, column) "
        "zs = Mul(zr, scale) z = Add(zs, shift) "
    )
    body += slices + near + parts + total + "y = Reshape(t, out)"
    ends = (
        f"float[1,2,{deep},4,5] x, float[1,{VOLUME_OUT},{VOLUME_OUT},{VOLUME_OUT},3] g",
        f"float[1,2,{VOLUME_OUT},{VOLUME_OUT},{VOLUME_OUT}] y",
    )
    return [
        Case(
            "export at opset 16 to 19, where it is called bilinear or bicubic",
            net(*flat, 'y = GridSample<mode="linear">(x, g)'),
            net(*flat, 'y = GridSample<mode="bilinear">(x, g)'),
            opset=20, opset_after=19,
        ),
        Case("sample slices in 4-D", net(*ends, "y = GridSample(x, g)"), net(*ends, body, constants), 20, 16),
    ]  # fmt: skip


def scatter_cases() -> list[Case]:
    """Reductions of a scatter as gathers and sums; what is scattered to is known."""
    ends = "float[4,3] x, float[3,3] u", "float[4,3] y"
    table = ints(i=[[2], [0], [2]])
    gathers = "p = Concat<axis=0>(u, zero) g = Gather<axis=0>(p, t) s = ReduceSum<keepdims=0>(g, ax) y = Add(x, s)"
    sums = ", ".join((floats(zero=[[0.0] * 3]), ints(t=[[1, 3], [3, 3], [0, 2], [3, 3]], ax=[1])))
    cells = ints(i=[[0, 3, 1], [0, 0, 2]])  # of axis 0
    flat = (
        "r = Reshape(u, all) p = Concat<axis=0>(r, zero) g = Gather<axis=0>(p, t) s = ReduceSum<keepdims=0>(g, ax) "
        "y = Add(x, s)"
    )
    t = np.full((4, 3, 2), 6)
    for place, (row, column) in enumerate(((0, 0), (3, 1), (1, 2), (0, 0), (0, 1), (2, 2))):
        t[row, column, 0 if t[row, column, 0] == 6 else 1] = place
    of_cells = ", ".join((floats(zero=[0.0]), ints(all=[-1], t=t, ax=[2])))
    return [
        Case(
            "replace the scatter by gathers and sums",
            net(*ends, 'y = ScatterND<reduction="add">(x, i, u)', table),
            net(*ends, gathers, sums),
            opset=16,
        ),
        Case(
            "replace the scatter by gathers and sums",
            net("float[4,3] x, float[2,3] u", "float[4,3] y", 'y = ScatterElements<reduction="add">(x, i, u)', cells),
            net("float[4,3] x, float[2,3] u", "float[4,3] y", flat, of_cells),
            opset=16,
        ),
        Case(
            "remove it (the TorchScript exporter does not write it)",
            net(*ends, 'y = ScatterND<reduction="none">(x, i, u)', ints(i=[[2], [0], [1]])),
            net(*ends, "y = ScatterND(x, i, u)", ints(i=[[2], [0], [1]])),
            opset=16,
        ),
    ]  # fmt: skip


def selection_cases() -> list[Case]:
    """TopK, ArgMax, CumSum, Range and reductions."""
    top = "float[2,9] x", "float[2,4] y"
    sixth = {"x": np.array([[3, -1, 3, 2], [-5, -5, -7, -6]], np.float32)}
    lower = (np.tri(4, dtype=np.float32).T).tolist()
    return [
        Case(
            "give K as an initializer",
            net("float[2,9] x, int64[1] k", "float[2,4] y", "y, i = TopK(x, k)"),
            net(*top, "y, i = TopK(x, k)", ints(k=[4])),
            feeds={"k": np.array([4])},
        ),
        Case(
            "set sorted = 1",
            net("float[2,9] x", "float[2] y", "v, i = TopK<sorted=0>(x, k) y = ReduceSum<keepdims=0>(v, a)",
                ints(k=[4], a=[1])),
            net("float[2,9] x", "float[2] y", "v, i = TopK<sorted=1>(x, k) y = ReduceSum<keepdims=0>(v, a)",
                ints(k=[4], a=[1])),
        ),
        Case(
            "export at a later opset",
            net("float[2,4] x", "int64[2,1] y", "y = ArgMax<axis=1, select_last_index=1>(x)"),
            net("float[2,4] x", "int64[2,1] y", "y = ArgMax<axis=1, select_last_index=1>(x)"),
            opset=11, opset_after=13, judge="by hand", feeds=sixth, expected=(np.array([[2], [1]]),),
        ),
        Case(
            "use gathers and sums",
            net("float[3,4] x", "float[3,4] y", "y = CumSum(x, a)", ints(a=1)),
            net("float[3,4] x", "float[3,4] y", "y = MatMul(x, m)", floats(m=lower)),
        ),
        Case(
            "use FP32 or INT32",
            net("", "float16[4] y", "y = Range(a, b, c)",
                halves(a=0.0, b=4.0, c=1.0)),
            net("", "float16[4] y", "r = Range(a, b, c) y = Cast<to=10>(r)", floats(a=0.0, b=4.0, c=1.0)),
            judge="by hand", expected=(np.arange(4, dtype=np.float16),),
        ),
        Case(
            "give them as initializers",
            net("float a, float b, float c, float[4] x", "float[4] y", "r = Range(a, b, c) y = Add(x, r)"),
            net("float[4] x", "float[4] y", "r = Range(a, b, c) y = Add(x, r)", floats(a=1.0, b=5.0, c=1.0)),
            feeds={"a": np.float32(1), "b": np.float32(5), "c": np.float32(1)},
        ),
        Case(
            "give it as an initializer",
            net("float[2,3,4] x, int64[1] a", "float[2,4] y", "y = ReduceSum<keepdims=0>(x, a)"),
            net("float[2,3,4] x", "float[2,4] y", "y = ReduceSum<keepdims=0>(x, a)", ints(a=[1])),
            feeds={"a": np.array([1])},
        ),
        Case(
            "export at opset 17",
            net("float[2,3,4] x", "float[2,1,4] y", "y = ReduceMean(x, a)", ints(a=[1])),
            net("float[2,3,4] x", "float[2,1,4] y", "y = ReduceMean<axes=[1]>(x)"),
            opset=18, opset_after=17,
        ),
    ]  # fmt: skip


def quantized_cases() -> list[Case]:
    """Q/DQ nodes that an importer refuses, with values of both signs where the types have them."""
    x = {"x": np.array([-20.0, -3.04, -0.55, 0.0, 0.26, 1.0, 9.99, 20.0], np.float32)}
    ends = "float[8] x", "float[8] y"
    pair = "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
    symmetric = f"{floats(s=0.125)}, int8 z = {{0}}"
    weights = np.arange(-8, 8).reshape(2, 2, 2, 2).tolist()
    bias = "i = Conv(x, w, b)"
    return [
        Case(
            "give the scale as an initializer",
            net("float[8] x, float s", "float[8] y", pair, "int8 z = {0}"),
            net(*ends, pair, symmetric),
            opset=13, feeds=x | {"s": np.float32(0.125)},
        ),
        Case(
            "use FP32 scales (the weak emission)",
            net("float16[8] x", "float16[8] y", pair, f"{halves(s=0.125)}, int8 z = {{0}}"),
            net("float16[8] x", "float16[8] y",
                "w = Cast<to=1>(x) q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = Cast<to=10>(d)",
                symmetric),
            opset=19, feeds={"x": x["x"].astype(np.float16)},
        ),
        Case(
            "leave the bias in float: its Q/DQ nodes out, and the float bias in the convolution",
            net("float[1,2,4,4] x", "float[1,2,3,3] y", f"b = DequantizeLinear(n, s) y = {bias[4:]}",
                f"{floats(w=weights, s=0.125)}, {numbers('n', 'int32', [-3, 40])}"),
            net("float[1,2,4,4] x", "float[1,2,3,3] y", f"y = {bias[4:]}", floats(w=weights, b=[-0.375, 5.0])),
            opset=13,
        ),
        Case(
            "write an INT8 zero point of 0",
            net("int8[8] q", "float[8] y", "y = DequantizeLinear(q, s)", floats(s=0.125)),
            net("int8[8] q", "float[8] y", "y = DequantizeLinear(q, s, z)", symmetric),
            opset=13, feeds={"q": np.array([-128, -7, -1, 0, 1, 7, 100, 127], np.int8)},
        ),
        Case(
            "quantise to INT8",
            net(*ends, pair, f"{floats(s=0.125)}, uint8 z = {{128}}"),
            net(*ends, pair, symmetric),
            opset=13, feeds=x,
        ),
    ]  # fmt: skip


def product_cases() -> list[Case]:
    """Einsum, and what Attention and the normalisations are taken apart to."""
    heads = "float[1,2,3,4] q, float[1,2,5,4] k, float[1,2,5,4] v", "float[1,2,3,4] y"
    apart = (
        "t = Transpose<perm=[0, 1, 3, 2]>(k) p = MatMul(q, t) s = Mul(p, r) {}w = Softmax<axis=-1>({}) y = MatMul(w, v)"
    )
    soft = apart.format("d = Div(s, c) h = Tanh(d) m = Mul(h, c) ", "m")
    norm = "m = ReduceMean<axes=[-1]>(x) d = Sub(x, m) p = Pow(d, two) v = ReduceMean<axes=[-1]>(p) "
    root = "e = Add(v, eps) q = Sqrt(e) y = Div(d, q)"
    of_norm = floats(two=2.0, eps=1e-5)
    ones = floats(g=[1.0] * 6)
    eye = np.zeros((9, 3), np.float32)
    eye[[0, 4, 8], [0, 1, 2]] = 1
    small = {"x": np.linspace(-3, 3, 24).reshape(4, 6).astype(np.float16)}
    return [
        Case(
            "write it in small letters",
            net("float[2,3] a, float[3,4] b", "float[2,4] y", 'y = Einsum<equation="IJ,JK->IK">(a, b)'),
            net("float[2,3] a, float[3,4] b", "float[2,4] y", 'y = Einsum<equation="ij,jk->ik">(a, b)'),
        ),
        Case(
            "write it as MatMul, Transpose and Reshape",
            net("float[2,2,3] a, float[2,4,3] b", "float[2,2,4] y", 'y = Einsum<equation="...ij,...kj->...ik">(a, b)'),
            net("float[2,2,3] a, float[2,4,3] b", "float[2,2,4] y",
                "t = Transpose<perm=[0, 2, 1]>(b) y = MatMul(a, t)"),
        ),
        Case(
            "write it as MatMul, Transpose and Reshape",
            net("float[2,3,3] a", "float[2,3] y", 'y = Einsum<equation="bii->bi">(a)'),
            net("float[2,3,3] a", "float[2,3] y", "r = Reshape(a, s) y = MatMul(r, e)",
                f"{ints(s=[2, 9])}, {floats(e=eye)}"),
        ),
        Case(
            "use a smaller map, or keep this attention in FP32",
            net("float[1,65504] x", "float[1,65504] y", "y = Softmax(x)"),
            net("float[1,65504] x", "float[1,65504] y", "y = Softmax(x)"),
            precision_after="fp32",
        ),
        Case(
            "cast its input to FP32, or export LayerNormalization at opset 17 (from 8.6 on)",
            net("float16[4,6] x", "float16[4,6] y", norm + root, halves(two=2.0, eps=1e-5)),
            net("float16[4,6] x", "float16[4,6] y",
                "w = Cast<to=1>(x) n = LayerNormalization(w, g) y = Cast<to=10>(n)", ones),
            feeds=small, tolerance=4e-3, not_on=("8.5",),
        ),
        Case(
            "build these layers in FP32, or export LayerNormalization at opset 17 (from 8.6 on)",
            net("float[4,6] x", "float[4,6] y", norm + root, of_norm),
            net("float[4,6] x", "float[4,6] y", "y = LayerNormalization(x, g)", ones),
            not_on=("8.5",),
        ),
        Case(
            "export at opset 16, where it decomposes, and keep those layers in FP32",
            net("float[4,6] x", "float[4,6] y", "y = LayerNormalization(x, g)", ones),
            net("float[4,6] x", "float[4,6] y", norm + root, of_norm),
            opset_after=16,
        ),
        Case(
            "compute mean and variance apart",
            net("float[4,6] x", "float[4,6] y, float[4,1] m", "y, m, i = LayerNormalization(x, g)", ones),
            net("float[4,6] x", "float[4,6] y, float[4,1] m",
                "y = LayerNormalization(x, g) m = ReduceMean<axes=[-1]>(x)", ones),
        ),
        Case(
            "export at opset 17, where it is written with Erf",
            net("float[8] x", "float[8] y", "y = Gelu(x)"),
            net("float[8] x", "float[8] y", "d = Div(x, r) e = Erf(d) o = Add(e, one) m = Mul(x, o) y = Mul(m, half)",
                floats(r=2**0.5, one=1.0, half=0.5)),
            opset=20, opset_after=17,
        ),
        Case(
            "export at opset 17, where it decomposes",
            net("float[1,4,3,3] x", "float[1,4,3,3] y", "y = GroupNormalization<num_groups=2>(x, s, b)",
                floats(s=[1.0, 2.0, 3.0, 4.0], b=[0.5, 0.0, -0.5, 1.0])),
            net("float[1,4,3,3] x", "float[1,4,3,3] y",
                "r = Reshape(x, g) n = InstanceNormalization(r, one, zero) o = Reshape(n, back) m = Mul(o, s) "
                "y = Add(m, b)",
                f"{ints(g=[1, 2, -1], back=[1, 4, 3, 3])}, {floats(one=[1.0, 1.0], zero=[0.0, 0.0])}, "
                f"{floats(s=np.reshape([1.0, 2.0, 3.0, 4.0], (1, 4, 1, 1)))}, "
                f"{floats(b=np.reshape([0.5, 0.0, -0.5, 1.0], (1, 4, 1, 1)))}"),
            opset=21, opset_after=17,
        ),
        Case(
            "leave it out, or export at opset 17, where it decomposes",
            net(*heads, "y = Attention<softcap=2.0>(q, k, v)"),
            net(*heads, soft, floats(r=0.5, c=2.0)),
            opset=23, opset_after=17, judge="reference",
        ),
        Case(
            "export it in FP16, or at opset 17, where it decomposes",
            net(*heads, "y = Attention(q, k, v)"),
            net(*heads, apart.format("", "s"), floats(r=0.5)),
            opset=23, opset_after=17, judge="reference",
        ),
        Case(
            "leave it out",
            net(*heads, "y = Attention<softmax_precision=1>(q, k, v)"),
            net(*heads, apart.format("", "s"), floats(r=0.5)),
            opset=23, opset_after=17, judge="reference",
        ),
    ]  # fmt: skip
