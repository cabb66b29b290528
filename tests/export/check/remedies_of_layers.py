"""More of them: pools, resizing, modes, element types, inputs and loops."""

from __future__ import annotations

import numpy as np

from tests.export.check.remedies import Case, floats, ints, net, numbers


def layer_cases() -> list[Case]:
    """Pools, norms and constants."""
    image = "float[1,2,6,6] x"
    corners = "".join(
        f"s{n} = Slice(x, f{n}, t{n}, ax) " for n in range(4)
    )  # what a window of 2 with dilation 2 looks at
    places = [(0, 0), (0, 2), (2, 0), (2, 2)]
    limits = {f"f{n}": list(place) for n, place in enumerate(places)} | {
        f"t{n}": [row + 4, column + 4] for n, (row, column) in enumerate(places)
    }
    slices = ints(**limits, ax=[2, 3])
    dilated = "kernel_shape=[2, 2], dilations=[2, 2]"
    return [
        Case(
            "take the largest (or the mean) of slices, one for each place of the window",
            net(image, "float[1,2,4,4] y", f"y = MaxPool<{dilated}>(x)"),
            net(image, "float[1,2,4,4] y", f"{corners} y = Max(s0, s1, s2, s3)", slices),
        ),
        Case(
            "take the largest (or the mean) of slices, one for each place of the window",
            net(image, "float[1,2,4,4] y", f"y = AveragePool<{dilated}>(x)"),
            net(image, "float[1,2,4,4] y", f"{corners} y = Mean(s0, s1, s2, s3)", slices),
            opset=19,
        ),
        Case(
            "do not use the indices",
            net(image, "float[1,2,3,3] y", "y, i = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)"),
            net(image, "float[1,2,3,3] y", "y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)"),
        ),
        Case(
            "write it with Abs, Pow and a sum",
            net(image, "float[1,2,3,3] y", "y = LpPool<kernel_shape=[2, 2], strides=[2, 2], p=3>(x)"),
            net(image, "float[1,2,3,3] y",
                "a = Abs(x) c = Pow(a, p) m = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(c) s = Mul(m, n) "
                "y = Pow(s, r)", floats(p=3.0, n=4.0, r=1 / 3)),
        ),
        Case(
            "export the network in evaluation mode (network.eval())",
            net("float[2,3,4,4] x", "float[2,3,4,4] y",
                "y, m, v = BatchNormalization<training_mode=1>(x, s, b, mean, var)",
                floats(s=[1.0] * 3, b=[0.5] * 3, mean=[0.0] * 3, var=[1.0] * 3)),
            net("float[2,3,4,4] x", "float[2,3,4,4] y", "y = BatchNormalization(x, s, b, mean, var)",
                floats(s=[1.0] * 3, b=[0.5] * 3, mean=[0.0] * 3, var=[1.0] * 3)),
            judge="by hand", feeds={"x": np.full((2, 3, 4, 4), -2, np.float32)},
            expected=(np.full((2, 3, 4, 4), -2 / np.sqrt(1 + 1e-5) + 0.5, np.float32),),
        ),
        Case(
            "export the network in evaluation mode (network.eval())",
            net("float[2,3] x, bool t", "float[2,3] y", "y = Dropout(x, r, t)", "float r = {0.5}"),
            net("float[2,3] x", "float[2,3] y", "y = Identity(x)"),
            feeds={"t": np.bool_(False)},
        ),
        Case(
            "unroll it when exporting",
            net("float[3] x", "float[3] y",
                "y = Loop<body = one (int64 i, bool c, float[3] a) => (bool d, float[3] b) "
                "{ d = Identity(c) b = Add(a, a) }>(n, go, x)", f"{ints(n=3)}, bool go = {{1}}"),
            net("float[3] x", "float[3] y", "a = Add(x, x) b = Add(a, a) y = Add(b, b)"),
        ),
        Case(
            "make the cache an input with batch, head, sequence and width",
            net("float[2,5,4] c, float[2,1,4] u", "float[2,5,4] y", "y = TensorScatter<axis=1>(c, u, w)",
                ints(w=[0, 3])),
            net("float[2,1,5,4] c, float[2,1,1,4] u", "float[2,1,5,4] y", "y = TensorScatter<axis=2>(c, u, w)",
                ints(w=[0, 3])),
            opset=24, judge="reference", feeds={"c": np.arange(-20, 20), "u": np.arange(100, 108)},
        ),
        Case(
            "make the cache an input with batch, head, sequence and width",
            net("float[2,1,5,4] c, float[2,1,1,4] u", "float[2,1,5,4] y",
                "d = Add(c, c) y = TensorScatter<axis=2>(d, u, w)", ints(w=[0, 3])),
            net("float[2,1,5,4] d, float[2,1,1,4] u", "float[2,1,5,4] y", "y = TensorScatter<axis=2>(d, u, w)",
                ints(w=[0, 3])),
            opset=24, judge="reference",
            feeds={"c": np.arange(-20, 20), "d": 2 * np.arange(-20, 20), "u": np.arange(100, 108)},
        ),
    ]  # fmt: skip


def resize_cases() -> list[Case]:
    """Words of Resize; twice the size is where half_pixel_symmetric is half_pixel."""
    image, larger = "float[1,1,4,4] x", "float[1,1,8,8] y"
    scales, sizes = floats(s=[1.0, 1.0, 2.0, 2.0]), ints(z=[1, 1, 8, 8])
    linear = 'mode="linear"'
    return [
        Case(
            "use half_pixel or align_corners",
            net(image, larger,
                f'y = Resize<{linear}, coordinate_transformation_mode="half_pixel_symmetric">(x, , s)', scales),
            net(image, larger, f'y = Resize<{linear}, coordinate_transformation_mode="half_pixel">(x, , s)', scales),
            opset=19,
        ),
        Case(
            "resize without it",
            net(image, larger, f"y = Resize<{linear}, antialias=1>(x, , s)", scales),
            net(image, larger, f"y = Resize<{linear}>(x, , s)", scales),
            opset=18,
        ),
        Case(
            "give the sizes themselves (stretch)",
            net(image, larger,
                f'y = Resize<{linear}, keep_aspect_ratio_policy="not_larger", axes=[2, 3]>(x, , , z)',
                ints(z=[8, 11])),
            net(image, larger, f"y = Resize<{linear}>(x, , , z)", sizes),
            opset=18,
        ),
        Case(
            "give scales or sizes as an initializer",
            net(f"{image}, float[4] s", larger, f"y = Resize<{linear}>(x, , s)"),
            net(image, larger, f"y = Resize<{linear}>(x, , s)", scales),
            feeds={"s": np.array([1, 1, 2, 2], np.float32)},
        ),
    ]  # fmt: skip


def type_cases() -> list[Case]:
    """Element types, and inputs of the network."""
    whole = np.array([[-3, 2, 0], [7, -1, 5]], np.int32)
    bytes_ = np.array([0, 1, 100, 255], np.uint8)
    return [
        Case(
            "cast it to a float type first",
            net("int32[2,3] a, int32[3,2] b", "int32[2,2] y", "y = MatMul(a, b)"),
            net("int32[2,3] a, int32[3,2] b", "int32[2,2] y",
                "p = Cast<to=1>(a) q = Cast<to=1>(b) m = MatMul(p, q) y = Cast<to=6>(m)"),
            feeds={"a": whole, "b": whole.T.copy()},
        ),
        Case(
            "cast it to a float type first",
            net("uint8[4] x", "uint8[4] y", "y = Add(x, x)"),
            net("uint8[4] x", "float[4] y", "f = Cast<to=1>(x) y = Add(f, f)"),
            feeds={"x": bytes_ // 4},
        ),
        Case(
            "cast to a float type",
            net("float[4] x", "float[4] y", "u = Cast<to=2>(x) v = Identity(u) y = Cast<to=1>(v)"),
            net("float[4] x", "float[4] y", "y = Floor(x)"),
            feeds={"x": np.array([0.5, 1, 100.75, 254.9], np.float32)},
        ),
        Case(
            "use FP16 or FP32",
            net("float[4] x", "float[4] y", "b = Cast<to=16>(x) y = Cast<to=1>(b)"),
            net("float[4] x", "float[4] y", "y = Identity(x)"),
            feeds={"x": np.array([-3.5, 0.25, 1.0, 96.0], np.float32)},  # numbers that BF16 has
        ),
        Case(
            "use INT32, INT8, FP16 or FP32",
            net("float[4] x", "float[4] y", "b = Cast<to=5>(x) y = Cast<to=1>(b)"),
            net("float[4] x", "float[4] y", "b = Cast<to=6>(x) y = Cast<to=1>(b)"),
            feeds={"x": np.array([-3.5, -0.25, 1.0, 960.0], np.float32)},
        ),
        Case(
            "use INT32 or a float type",
            net("int16[4] x", "float[4] y", "y = Cast<to=1>(x)"),
            net("int32[4] x", "float[4] y", "y = Cast<to=1>(x)"),
            feeds={"x": np.array([-300, -1, 0, 7], np.int16)},
        ),
        Case(
            "make it INT32",
            net("float[5,2] t, int64[3] i", "float[3,2] y", "y = Gather(t, i)"),
            net("float[5,2] t, int32[3] i", "float[3,2] y", "y = Gather(t, i)"),
            feeds={"i": np.array([4, 0, -1])},
        ),
        Case(
            "make it FLOAT",
            net("double[4] x", "float[4] y", "f = Cast<to=1>(x) y = Relu(f)"),
            net("float[4] x", "float[4] y", "y = Relu(x)"),
        ),
        Case(
            "export with static shapes",
            net("float[n,3] x", "float[n,3] y", "y = Relu(x)"),
            net("float[2,3] x", "float[2,3] y", "y = Relu(x)"),
            feeds={"x": np.array([[-1, 2, -3], [4, -5, 6]], np.float32)},
        ),
        Case(
            "give its values as a dense tensor",
            "SPARSE",
            net("float[4] x", "float[4] y", "y = Add(x, c)", numbers("c", "float", [0.0, 2.0, 0.0, -1.0])),
        ),
    ]  # fmt: skip
