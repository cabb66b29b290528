"""Scales from samples, against numpy and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bevlite.analysis.histogram import Histogram
from bevlite.compression.calibration import Calibrator, Method, least_square_error
from bevlite.errors import BevliteError

GROUPS = (("a", "b"), ("c",))


def values(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 8, 50, 50, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", ["max", "percentile", "mse", "entropy"])
def test_points_of_a_group_share_a_scale_that_holds_most_values(method: Method) -> None:
    pytest.importorskip("modelopt") if method == "entropy" else None
    calibrator = Calibrator(GROUPS, method, percentile=99.9)
    for seed in range(3):
        calibrator.see("a", values(seed))
        calibrator.see("b", 2 * values(seed + 10))
        calibrator.see("c", torch.relu(values(seed)))
    found = calibrator.largest()
    both = np.abs(np.concatenate([f * values(s).numpy().ravel() for s, f in
                                  ((0, 1), (1, 1), (2, 1), (10, 2), (11, 2), (12, 2))]))  # fmt: skip
    assert set(found) == {"a", "b", "c"} and found["a"] == found["b"] <= both.max() * (1 + 1e-6)
    if method == "max":
        assert found["a"] == pytest.approx(both.max())
    elif method == "percentile":
        assert found["a"] == pytest.approx(np.quantile(both, 0.999), rel=0.02)
    else:
        assert np.mean(both > found["a"]) < 0.01  # of a normal distribution little is cut off


def test_zeros_say_nothing() -> None:
    """An empty map of which one value in a thousand is not zero keeps the scale of those."""
    sparse = torch.zeros(1, 1, 1000, 1000)
    sparse.view(-1)[::1000] = torch.rand(1000, generator=torch.Generator().manual_seed(0)) + 1
    calibrator = Calibrator((("a",),), "percentile", 99.0)
    calibrator.see("a", sparse)
    assert calibrator.largest()["a"] == pytest.approx(1.99, abs=0.02)


def test_least_square_error_is_that_of_all_thresholds() -> None:
    rng = np.random.default_rng(0)
    data = np.abs(np.concatenate([rng.standard_normal(200_000), 8 * rng.standard_normal(50)]))
    seen = Histogram()
    seen.add(torch.tensor(data))
    found = least_square_error(seen)

    def error(largest: float) -> float:
        step = largest / 127
        return float(np.mean((np.clip(np.round(data / step), 0, 127) * step - data) ** 2))

    tried = np.linspace(0.1, 1.0, 200) * data.max()
    best = tried[int(np.argmin([error(t) for t in tried]))]
    assert error(found) <= 1.05 * error(best) < error(data.max())


def test_what_cannot_be_calibrated() -> None:
    calibrator = Calibrator(GROUPS, "max")
    calibrator.see("a", values())
    with pytest.raises(BevliteError, match="c is not run as a layer by any sample"):
        calibrator.largest()
    with pytest.raises(BevliteError, match="found NaN or infinity at c; accepted: finite values"):
        calibrator.see("c", torch.tensor([1.0, float("nan")]))
    calibrator.see("c", torch.zeros(3))
    assert calibrator.largest()["c"] == 1.0
    with pytest.raises(BevliteError, match="method: found 'median'; accepted: max, entropy, percentile, mse"):
        Calibrator(GROUPS, "median")  # type: ignore[arg-type]
    with pytest.raises(BevliteError, match="percentile: found 30; accepted: more than 50"):
        Calibrator(GROUPS, "max", 30.0)
