"""Which rungs say something of the end: those that order networks as the end does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

TRUST = 0.7
"""A rung counts where its rank correlation with the end is surely above this."""
SURE = 1.2816
"""Standard deviations: one side, 90 %."""
FEWEST = 8
"""Networks trained to the end below which nothing is known of a rung."""


def agreement(early: Sequence[float], final: Sequence[float]) -> float:
    """The lower end of the rank correlation (Spearman) of accuracies at a rung with those at the end.

    By Fisher's transformation, with the variance of Bonett and Wright (2000). -1 where too few are known or all are
    equal.

    Args:
        early, final: accuracies of the same networks.
    """
    if len(early) < FEWEST or np.ptp(early) == 0 or np.ptp(final) == 0:
        return -1.0
    found = float(np.clip(spearmanr(early, final).statistic, -0.999, 0.999))
    error = math.sqrt((1 + found**2 / 2) / (len(early) - 3))
    return math.tanh(math.atanh(found) - SURE * error)


def trusted(curves: Sequence[Mapping[int, float]], rungs: Sequence[int]) -> dict[int, float]:
    """How far each rung but the last agrees with the last, from networks that were trained to the end.

    Args:
        curves: accuracies by epoch, of networks that have them all.
        rungs: epochs, growing.
    """
    whole = [curve for curve in curves if all(epoch in curve for epoch in rungs)]
    final = [curve[rungs[-1]] for curve in whole]
    return {epoch: agreement([curve[epoch] for curve in whole], final) for epoch in rungs[:-1]}
