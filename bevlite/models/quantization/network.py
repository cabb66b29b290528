"""A network that runs as if in INT8, by its plan and the scales that were found for it."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.models.detector import Detector
from bevlite.models.quantization.fake import FakeQuantization
from bevlite.models.quantization.placement import placement


def quantize(network: Detector, largest: Mapping[str, float]) -> FakeQuantization:
    """Let a network run as its plan says.

    Args:
        network: changed in place; its weights stay what they are.
        largest: absolute value at each point of quantization that INT8 is to hold.

    Raises:
        BevliteError: a point of the plan without a scale.
    """
    places = placement(network.variant)
    layers = places.quantized(network.variant.compression.precision_of)
    network.quantization = FakeQuantization(network, places, layers, largest)
    return network.quantization
