"""How large the values are that INT8 is to hold: from samples, by the calibrators of nvidia-modelopt."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.models.quantization.fake import LEVELS

Method = Literal["max", "entropy", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
FIRST, STRIDE = 128, 8
"""The first of 2048 bins that entropy and MSE try as a threshold, and how many are left out between two of them: all of
them take 3 s a point."""


class Calibrator:
    """Collects the values at points of quantization; points that share a scale are one.

    Histograms leave zeros out: INT8 holds them exactly whatever the scale is, and of a BEV map they are most values.

    Args:
        groups: points that share a scale.
        method: `max`: the largest value; `percentile`: what that share of the values (in %) is below; `entropy`: the
            least Kullback-Leibler divergence (TensorRT's); `mse`: the least mean square error.
        percentile: in %, for that method.

    Raises:
        BevliteError: nvidia-modelopt is not installed, an unknown method, a percentile out of range.
    """

    def __init__(
        self, groups: Sequence[Sequence[str]], method: Method = "percentile", percentile: float = 99.99
    ) -> None:
        if method not in METHODS:
            raise BevliteError(f"method: found '{method}'; accepted: {', '.join(METHODS)}")
        if not 50 < percentile <= 100:
            raise BevliteError(f"percentile: found {percentile:g}; accepted: more than 50 and at most 100")
        self.method, self.percentile = method, percentile
        self.first = {point: group[0] for group in groups for point in group}
        self._points = [point for group in groups for point in group]
        self._histogram = _histogram() if method != "max" else None
        self._found: dict[str, Any] = {}
        self._largest: dict[str, float] = {}

    def see(self, point: str, values: Tensor) -> None:
        """Take in the values at a point (raises BevliteError where they are not finite)."""
        name = self.first[point]
        largest = float(values.detach().abs().max()) if values.numel() else 0.0
        if not largest < float("inf"):
            raise BevliteError(
                f"calibration: found NaN or infinity at {point}; accepted: finite values on every sample"
            )
        self._largest[name] = max(self._largest.get(name, 0.0), largest)
        if largest > 0 and self._histogram is not None:
            if name not in self._found:
                self._found[name] = self._histogram(num_bits=8, axis=None, unsigned=False, skip_zeros=True)
            self._found[name].collect(values.detach().float())

    def largest(self) -> dict[str, float]:
        """What INT8 is to hold at each point; 1 where nothing but zeros was seen.

        Raises:
            BevliteError: a point that no sample reached.
        """
        missing = [point for point in self._points if self.first[point] not in self._largest]
        if missing:
            raise BevliteError(f"calibration: {missing[0]} is not run as a layer by any sample; accepted: fp16 for it")
        values = {name: self._value(name) for name in dict.fromkeys(self.first.values())}
        return {point: values[self.first[point]] for point in self._points}

    def _value(self, name: str) -> float:
        largest = self._largest[name]
        if largest == 0:
            return 1.0
        if self.method == "max":
            return largest
        histogram = self._found[name]
        if self.method == "mse":
            found = least_square_error(histogram._calib_hist, histogram._calib_bin_edges)
        elif self.method == "percentile":
            found = float(histogram.compute_amax("percentile", percentile=self.percentile))
        else:
            found = float(histogram.compute_amax("entropy", stride=STRIDE))
        return min(found, largest) if found > 0 else largest


def least_square_error(counts: Tensor, edges: Tensor) -> float:
    """The largest value for INT8 with the least mean square error over a histogram.

    Computed here: modelopt 0.47 hands the number of bits to its rounding as an offset, and finds the smallest threshold
    that it tries whatever the values are.

    Args:
        counts: (bins,) of absolute values.
        edges: (bins + 1,) of the bins, rising.
    """
    counts, edges = torch.as_tensor(counts).double().cpu(), torch.as_tensor(edges).double().cpu()
    centers = (edges[1:] + edges[:-1]) / 2
    tried = edges[FIRST::STRIDE, None] if len(edges) > FIRST else edges[-1:, None]
    tried = torch.cat([tried, edges[-1:, None]])
    steps = tried / LEVELS
    rounded = (centers / steps).round().clamp(max=LEVELS) * steps
    errors = ((rounded - centers) ** 2 * counts).sum(1)
    return float(tried[errors.argmin()])


def _histogram() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from modelopt.torch.quantization.calib import HistogramCalibrator
    except ImportError as error:
        raise BevliteError(
            f"quantization: nvidia-modelopt cannot be imported ({error}); accepted: pip install 'bevlite[quantize]', "
            "or the method max"
        ) from None
    return HistogramCalibrator
