"""What latency predictors usually are: gradient boosting on counts. Here to be beaten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor  # type: ignore[import-untyped]

from bevlite.latency.calibration.fitting import Measurement


def boosted(measured: Sequence[Measurement], train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predicted ms of the rows `test` by a regressor of log latency fitted to the rows `train`."""
    counts = [Counter(kernel.op for kernel in m.kernels) for m in measured]
    operators = sorted({op for count in counts for op in count})
    features = np.array(
        [
            [
                np.log(sum(k.flops for k in m.kernels) + 1),
                np.log(sum(size for k in m.kernels for _, size in k.traffic) + 1),
                len(m.kernels),
                *(count[op] for op in operators),
            ]
            for m, count in zip(measured, counts, strict=True)
        ]
    )
    target = np.log([m.latency_ms for m in measured])
    model = GradientBoostingRegressor(n_estimators=300, max_depth=3, learning_rate=0.05, random_state=0)
    model.fit(features[train], target[train])
    return np.exp(model.predict(features[test]))
