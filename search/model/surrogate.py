"""What accuracies are to be expected: a Gaussian process over networks and how long they were trained."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

MOST = 400
"""Results that are learnt from: a fit takes their number cubed."""
LENGTHS = (0.05, 20.0)
NOISE = (1e-5, 0.3)
"""Bounds of the variance of a single training, against that of all results."""


class Surrogate:
    """Mean and standard deviation of what a network is worth, from results of others and of itself at lower rungs.

    Matern 5/2 with a length a column (Rasmussen and Williams, 2006, chapters 4 and 5), by scikit-learn, fitted by its
    marginal likelihood. How long a network was trained is a column like any other, so that what was stopped early says
    something of what was not.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._process: GaussianProcessRegressor | None = None

    def fit(self, rows: np.ndarray, trained: np.ndarray, accuracy: np.ndarray) -> None:
        """Learn.

        Args:
            rows: networks (N, columns).
            trained: share (N,) of the full training, more than 0 and up to 1.
            accuracy: results (N,).
        """
        rows, trained, accuracy = rows[-MOST:], trained[-MOST:], accuracy[-MOST:]
        x = _with_training(rows, trained)
        self._low, self._span = x.min(axis=0), np.maximum(np.ptp(x, axis=0), 1e-9)
        self._mean, self._scale = float(accuracy.mean()), max(float(accuracy.std()), 1e-9)
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(np.full(x.shape[1], 1.0), LENGTHS, nu=2.5) + WhiteKernel(
            0.01, NOISE
        )
        process = GaussianProcessRegressor(kernel, alpha=1e-8, n_restarts_optimizer=0, random_state=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is a column that says nothing
            process.fit((x - self._low) / self._span, (accuracy - self._mean) / self._scale)
        self._process = process

    @property
    def noise(self) -> float:
        """Standard deviation of a single training, as it was found."""
        assert self._process is not None
        return float(np.sqrt(self._process.kernel_.k2.noise_level)) * self._scale

    def predict(self, rows: np.ndarray, trained: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (N,) of what networks are worth, without the noise of a single training."""
        assert self._process is not None
        x = (_with_training(rows, np.full(len(rows), trained)) - self._low) / self._span
        mean, deviation = self._process.predict(x, return_std=True)
        own = float(self._process.kernel_.k2.noise_level)
        deviation = np.sqrt(np.maximum(deviation**2 - own, 1e-12))
        return mean * self._scale + self._mean, deviation * self._scale


def _with_training(rows: np.ndarray, trained: np.ndarray) -> np.ndarray:
    return np.column_stack([rows, np.log2(np.asarray(trained, dtype=float))])
