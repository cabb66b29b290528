"""Coefficients that only kernels of torch's compiler and its libraries reach, beside those of TensorRT's."""

from __future__ import annotations

from bevlite.latency.coefficients import FITTABLE, Coefficients, NotNegative, Positive, Share

OWN: dict[str, tuple[float, float]] = {"misaligned_efficiency": (0.05, 1.0), "strided_efficiency": (0.02, 1.0)}
BEFORE = {"misaligned_efficiency": "depthwise_efficiency", "strided_efficiency": "l2_speedup"}
"""Where they stand among the others, in the order that a fit prints them."""


class CompilerCoefficients(Coefficients):
    """How close each kind of kernel comes to the ceilings, with what only these kernels do."""

    switch_share: NotNegative = 0.0
    """What a kernel costs beyond its work once more, among many others, whose instructions lie in no cache any more, as
    a share of the launch figure. Networks alone cannot tell it from `launch_share`, which holds both for an engine."""
    exposed_share: NotNegative = 0.0
    """Of the shorter of computing and moving data, what the longer does not hide. Engines are taken to hide all."""
    stem_latency: Positive = 1.0
    """How much longer a step through K takes in the convolution of an image than in others."""
    misaligned_efficiency: Share = 0.35
    """Product with rows of a length that is no multiple of eight, which are not padded."""
    strided_efficiency: Share = 0.2
    """Reduction over values that do not lie together, in generated kernels."""


def _fittable() -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for name, bounds in FITTABLE.items():
        found |= {own: OWN[own] for own, before in BEFORE.items() if before == name}
        found[name] = bounds
    return found


COMPILER_FITTABLE = _fittable()
"""What a fit may move, with the bounds."""
