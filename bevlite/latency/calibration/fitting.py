"""Fitting the coefficients to measured latencies, no more of them than the measurements bear.

Errors are logarithms of predicted over measured, so that 10 % too much weighs the same for a small network as for a
large one. Each family of networks weighs the same, and each network within its family, however many sizes of it were
measured. Coefficients start from a prior and stay near it where the data says little.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from bevlite.errors import BevliteError
from bevlite.latency.coefficients import FITTABLE, PREDICTOR_VERSION, Calibration, Coefficients, FamilyError
from bevlite.latency.gpu.backend import TENSORRT, Backend
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.kinds import factor_name
from bevlite.latency.gpu.timing import KernelTable
from bevlite.latency.onnx.kinds import KINDS

Array = NDArray[np.float64]

FACTORS: dict[str, tuple[float, float]] = {factor_name(kind): (0.1, 10.0) for kind in KINDS}
"""Corrections for one board, from its own measurements."""
PRIOR_SPREAD = 0.7
"""Standard deviation of the logarithm of a coefficient before any measurement: a factor of two."""
NOISE_FLOOR = 0.05
"""Replicates of one measurement differ by 3 to 6 %: no fit is trusted beyond that."""
INSIDE = 0.8
"""The share of what was not seen that an interval is to hold."""
NETWORKS_A_COEFFICIENT = 2
STEP = 0.02
"""Step of the logarithms for derivatives: tiles and waves make the model's fine grain uneven."""
LEARNT = 0.5
"""A coefficient is borne by the data when they halve its spread at least."""


@dataclass(frozen=True)
class Measurement:
    """One measured latency of one engine. `extra_ms` is what it holds besides kernels (transfers)."""

    kernels: tuple[KernelFeatures, ...]
    latency_ms: float
    top: Ceilings
    family: str
    network: str
    extra_ms: float = 0.0

    def identity(self) -> str:
        """A line that stands for it in the hash of the data."""
        return json.dumps([self.family, self.network, self.latency_ms, self.extra_ms, len(self.kernels)])


class _Rows:
    """Measurements as arrays: one kernel table for each set of ceilings."""

    def __init__(self, measurements: Sequence[Measurement], backend: Backend) -> None:
        self.measured = np.array([m.latency_ms for m in measurements])
        self.extra = np.array([m.extra_ms for m in measurements])
        self.weights = _weights(measurements)
        self.networks = len({m.network for m in measurements})
        self.tables: list[tuple[Ceilings, KernelTable, NDArray[np.int64], NDArray[np.int64]]] = []
        for top in dict.fromkeys(m.top for m in measurements):
            here = [i for i, m in enumerate(measurements) if m.top == top]
            owner = np.concatenate([np.full(len(measurements[i].kernels), i) for i in here])
            # Blocks repeat: kernels that differ by their names alone are timed once.
            place: dict[KernelFeatures, int] = {}
            kernels = [replace(k, name="", nodes=()) for i in here for k in measurements[i].kernels]
            which = np.array([place.setdefault(kernel, len(place)) for kernel in kernels], dtype=np.int64)
            self.tables.append((top, backend.table(list(place)), owner, which))

    def predict_ms(self, c: Coefficients) -> Array:
        total = self.extra.copy()
        for top, table, owner, which in self.tables:
            total += np.bincount(owner, weights=table.times(top, c).total[which], minlength=len(total)) / 1e3
        return total


def _weights(measurements: Sequence[Measurement]) -> Array:
    """Families alike, networks of a family alike; they sum to the number of networks."""
    of_family = np.array([m.family for m in measurements])
    of_network = np.array([m.network for m in measurements])
    weights = np.zeros(len(measurements))
    for family in set(of_family):
        networks = sorted(set(of_network[of_family == family]))
        for network in networks:
            mine = (of_family == family) & (of_network == network)
            weights[mine] = 1 / len(networks) / mine.sum()
    return weights * len(set(of_network)) / weights.sum()


def predict_ms(measurements: Sequence[Measurement], coefficients: Coefficients, backend: Backend = TENSORRT) -> Array:
    """Predicted latencies of measurements in ms."""
    return _Rows(measurements, backend).predict_ms(coefficients)


def fit(
    measurements: Sequence[Measurement], start: Coefficients, names: Sequence[str], backend: Backend = TENSORRT
) -> tuple[Coefficients, dict[str, str]]:
    """Fit named coefficients; returns them, and those that were held at the start with the reason.

    Raises:
        BevliteError: no measurement, or a name that is not fittable.
    """
    if not measurements:
        raise BevliteError("calibration: found no measurements; accepted: at least two networks")
    bounds = {**backend.bounds, **FACTORS}
    unknown = [name for name in names if name not in bounds]
    if unknown:
        raise BevliteError(f"calibration: found '{unknown[0]}'; accepted: {', '.join(bounds)}")
    rows = _Rows(measurements, backend)
    held: dict[str, str] = {}
    chosen = list(names)
    while chosen:
        solution, spread = _solve(rows, start, {name: bounds[name] for name in chosen})
        too_many = len(chosen) > max(1, rows.networks // NETWORKS_A_COEFFICIENT)
        worst = int(np.argmax(spread))
        if spread[worst] <= LEARNT * PRIOR_SPREAD and not too_many:
            fitted = _with(start, chosen, solution)
            return fitted.model_copy(update={name: round(getattr(fitted, name), 5) for name in chosen}), held
        name = chosen.pop(worst)
        why = f"{rows.networks} networks bear no more" if too_many else "the measurements do not tell it"
        held[name] = f"{why}: its spread stays {spread[worst] / PRIOR_SPREAD:.0%} of what it was"
    return start, held


def cross_validate(
    measurements: Sequence[Measurement], start: Coefficients, names: Sequence[str], backend: Backend = TENSORRT
) -> tuple[Array, list[FamilyError]]:
    """Predict each family by a fit to all others; predictions in ms, and the errors a family.

    Raises:
        BevliteError: fewer than two families.
    """
    families = sorted({m.family for m in measurements})
    if len(families) < 2:
        raise BevliteError("calibration: found one family of networks; accepted: two or more, to leave one out")
    predicted = np.zeros(len(measurements))
    errors = []
    for family in families:
        inside = [m for m in measurements if m.family == family]
        others = [m for m in measurements if m.family != family]
        coefficients, _ = fit(others, start, names, backend)
        values = predict_ms(inside, coefficients, backend)
        predicted[[i for i, m in enumerate(measurements) if m.family == family]] = values
        error = np.abs(values / np.array([m.latency_ms for m in inside]) - 1)
        errors.append(
            FamilyError(
                family=family,
                rows=len(inside),
                networks=len({m.network for m in inside}),
                mean_abs_error=round(float(error.mean()), 4),
                worst=round(float(error.max()), 4),
            )
        )
    return predicted, errors


def band(measurements: Sequence[Measurement], predicted: Array) -> tuple[float, float]:
    """How far below and above a prediction the truth lies at 80 %, by the errors of what was left out of a fit.

    A conformal interval: the quantile of the errors' logarithms without their sign, because which way a lineage errs
    that nobody has seen is not known. A family of many rows counts more than one of few, by the root of their number:
    it is neither one observation nor as many.
    """
    ratio = np.array([m.latency_ms for m in measurements]) / predicted
    families = np.array([m.family for m in measurements])
    weights = np.array([1.0 / np.sqrt((families == family).sum()) for family in families])
    reach = _quantile(np.abs(np.log(ratio)), weights, INSIDE)
    return max(NOISE_FLOOR, 1 - float(np.exp(-reach))), max(NOISE_FLOOR, float(np.exp(reach)) - 1)


def bands(measurements: Sequence[Measurement], predicted: Array) -> dict[str, float]:
    """The bands of a calibration, by precision; those of INT8 stay where rows of fewer than two families tell them."""
    int8 = np.array([any(kernel.precision == "int8" for kernel in m.kernels) for m in measurements])
    found: dict[str, float] = {}
    for suffix, chosen in (("", ~int8), ("_int8", int8)):
        rows = [m for m, here in zip(measurements, chosen, strict=True) if here]
        if len({m.family for m in rows}) > 1:
            below, above = band(rows, predicted[chosen])
            found |= {f"band_below{suffix}": ceil(below * 1e3) / 1e3, f"band_above{suffix}": ceil(above * 1e3) / 1e3}
    return found


def calibrate(
    measurements: Sequence[Measurement],
    start: Coefficients,
    device: str,
    names: Sequence[str] = tuple(FITTABLE),
    say: Callable[[str], None] = lambda text: None,
) -> Calibration:
    """Fit, cross-validate, and put it all down as a calibration.

    With one family alone nothing can be left out: the band stays as wide as in `start`.
    """
    coefficients, held = fit(measurements, start, names)
    errors: list[FamilyError] = []
    if len({m.family for m in measurements}) > 1:
        predicted, errors = cross_validate(measurements, start, names)
        coefficients = coefficients.model_copy(update=bands(measurements, predicted))
    else:
        say("one family of networks: nothing to leave out, the interval stays as it was")
    digest = hashlib.sha256("\n".join(sorted(m.identity() for m in measurements)).encode()).hexdigest()
    return Calibration(
        predictor=PREDICTOR_VERSION,
        device=device,
        fitted=tuple(name for name in names if name not in held),
        held=held,
        rows=len(measurements),
        networks=len({m.network for m in measurements}),
        data_sha256=digest,
        left_out=tuple(errors),
        coefficients=coefficients,
    )


def _solve(rows: _Rows, start: Coefficients, bounds: Mapping[str, tuple[float, float]]) -> tuple[Array, Array]:
    """The best logarithms of coefficients, and how uncertain each remains (standard deviation of its logarithm)."""
    names = tuple(bounds)
    prior = np.log([getattr(start, name) for name in names])
    low, high = np.log(list(bounds.values())).T
    root = np.sqrt(rows.weights)

    def residuals(x: Array) -> Array:
        error = np.log(rows.predict_ms(_with(start, names, x)) / rows.measured)
        return np.concatenate([root * error / NOISE_FLOOR, (x - prior) / PRIOR_SPREAD])

    def jacobian(x: Array) -> Array:
        here = residuals(x)
        steps = np.diag(np.where(x + STEP < high, STEP, -STEP))
        return np.stack([(residuals(x + step) - here) / step.sum() for step in steps], axis=1)

    begin = np.clip(prior, low + 1e-3, high - 1e-3)
    result = least_squares(residuals, begin, jacobian, bounds=(low, high), loss="soft_l1", f_scale=2.0, max_nfev=60)
    # What the fit leaves over is noise for the coefficients: the spread of each follows from it. Without the loss's
    # forgiveness for outliers, which would make a measurement that fits badly look like none.
    slopes, left = jacobian(result.x), residuals(result.x)[: len(rows.measured)]
    slopes[: len(left)] /= max(1.0, float(np.sqrt((left**2).sum() / rows.networks)))
    return result.x, np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))


def _with(start: Coefficients, names: Sequence[str], logs: Array) -> Coefficients:
    values = {name: float(np.exp(value)) for name, value in zip(names, logs, strict=True)}
    return start.model_copy(update=values)


def _quantile(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])
