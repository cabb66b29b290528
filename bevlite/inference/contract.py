"""What can be evaluated: a network behind one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Network(Protocol):
    """A batch in, the raw maps of its tasks as deployed out, as numpy (bevlite.tasks.contract.RawMap).

    A network with a past remembers from call to call; where `first` of a batch is true, a sequence begins.
    """

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch."""
        ...
