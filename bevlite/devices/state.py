"""State: outputs of the frame before that a network takes as inputs, and where a sequence of frames begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from bevlite.errors import BevliteError

Feeds = Mapping[str, str]
"""Name of an input of a network: name of the output of the frame before that it takes."""
Kind = tuple[np.dtype[np.generic], tuple[int, ...]]
"""Type and shape of a tensor."""


def begins(number: int, starts: Collection[int]) -> bool:
    """Whether a frame is the first of a sequence; the first of all always is."""
    return number == 0 or number in starts


def require_feeds(feeds: Feeds, inputs: Mapping[str, Kind], outputs: Mapping[str, Kind]) -> None:
    """State must go from an output to an input of the network, of one type and shape.

    Raises:
        BevliteError: it does not.
    """
    for name, source in feeds.items():
        if name not in inputs:
            raise BevliteError(f"feeds: found input '{name}'; accepted: {', '.join(inputs)}")
        if source not in outputs:
            raise BevliteError(f"feeds: {name}: found output '{source}'; accepted: {', '.join(outputs)}")
        if inputs[name] != outputs[source]:
            found, accepted = (f"{kind} {shape}" for kind, shape in (outputs[source], inputs[name]))
            raise BevliteError(f"feeds: {name}: found '{source}' of {found}; accepted: {accepted}, as '{name}' is")


def require_starts(starts: Collection[int], count: int) -> list[int]:
    """The numbers of frames that begin a sequence, in order (raises BevliteError for one that is none of a frame)."""
    for number in starts:
        if not 0 <= number < count:
            raise BevliteError(f"starts: found {number}; accepted: numbers of frames, 0 to {count - 1}")
    return sorted(set(starts))


class State:
    """What a sequence of frames hands on, in this machine's memory."""

    def __init__(self, feeds: Feeds, inputs: Mapping[str, Kind]) -> None:
        """`inputs` are those of the network, the state among them."""
        self._feeds = dict(feeds)
        self._kinds = {name: inputs[name] for name in feeds}
        self._held: dict[str, np.ndarray] = {}

    def complete(self, frame: Mapping[str, np.ndarray], new: bool) -> dict[str, np.ndarray]:
        """The inputs of a frame: what it gives itself, and the state that it does not (zeros in a new sequence)."""
        found = dict(frame)
        for name, (kind, shape) in self._kinds.items():
            if name not in found:
                found[name] = np.zeros(shape, kind) if new or name not in self._held else self._held[name]
        return found

    def keep(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Of the tensors of a frame what the next one takes."""
        self._held = {name: tensors[source] for name, source in self._feeds.items()}
