"""How large the values are that INT8 is to hold, from samples: the usual four rules behind one interface.

Entropy is that of nvidia-modelopt. The others need no library: where modelopt 0.47 looks for the least square error it
hands the number of bits to its rounding as an offset, and finds the smallest threshold that it tries.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bevlite.analysis.histogram import Histogram
from bevlite.errors import BevliteError
from bevlite.models.quantization.fake import LEVELS

Method = Literal["max", "entropy", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
STRIDE = 8
"""Bins of 2048 between two thresholds that entropy tries: all of them take 3 s a point."""
THRESHOLDS = 256
"""Thresholds that the square error is computed for."""


class Calibrator:
    """Collects the values at points of quantization; points that share a scale are one.

    Histograms leave zeros out: INT8 holds them exactly whatever the scale is, and of a BEV map they are most values.

    Args:
        groups: points that share a scale.
        method: `max`: the largest value; `percentile`: what that share of the values (in %) is below; `entropy`: the
            least Kullback-Leibler divergence (TensorRT's); `mse`: the least mean square error.
        percentile: in %, for that method.

    Raises:
        BevliteError: entropy without nvidia-modelopt, an unknown method, a percentile out of range.
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
        self._entropy = _entropy() if method == "entropy" else None
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
        if largest == 0 or self.method == "max":
            return
        if self._entropy is not None:
            if name not in self._found:
                self._found[name] = self._entropy(num_bits=8, axis=None, unsigned=False, skip_zeros=True)
            self._found[name].collect(values.detach().float())
        else:
            self._found.setdefault(name, Histogram()).add(values)

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
        seen = self._found[name]
        if self.method == "mse":
            found = least_square_error(seen)
        elif self.method == "percentile":
            found = seen.quantile(self.percentile / 100, with_zeros=False)
        else:
            found = float(seen.compute_amax("entropy", stride=STRIDE))
        return min(found, largest) if found > 0 else largest


def least_square_error(seen: Histogram) -> float:
    """The largest value for INT8 with the least mean square error over a histogram."""
    lower, upper, counts = seen.bins()
    centers = (lower + upper) / 2
    tried = torch.linspace(1.0 / THRESHOLDS, 1.0, THRESHOLDS, dtype=torch.float64)[:, None] * seen.largest
    steps = tried / LEVELS
    rounded = (centers / steps).round().clamp(max=LEVELS) * steps
    errors = ((rounded - centers) ** 2 * counts).sum(1)
    return float(tried[errors.argmin()])


def _entropy() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from modelopt.torch.quantization.calib import HistogramCalibrator
    except ImportError as error:
        raise BevliteError(
            f"method entropy: nvidia-modelopt cannot be imported ({error}); accepted: pip install 'bevlite[quantize]', "
            "or percentile, mse, max"
        ) from None
    return HistogramCalibrator
