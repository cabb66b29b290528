"""Absolute values counted as they come: no largest value has to be known before."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 2048


class Histogram:
    """Counts of absolute values, by power of two of the largest of each tensor; zeros are counted apart."""

    def __init__(self) -> None:
        self.largest, self.zeros = 0.0, 0.0
        self._counts: dict[int, Tensor] = {}

    def add(self, values: Tensor) -> None:
        """Take in the absolute values of a tensor; they must be finite."""
        values = values.detach().float().abs()
        largest = float(values.max()) if values.numel() else 0.0
        zeros = float((values == 0).sum())
        self.largest, self.zeros = max(self.largest, largest), self.zeros + zeros
        if largest == 0:
            return
        exponent = int(torch.frexp(torch.tensor(largest))[1])
        counts = torch.histc(values, BINS, 0, float(2.0**exponent)).double().cpu()
        counts[0] -= zeros
        self._counts[exponent] = self._counts.get(exponent, torch.zeros(BINS, dtype=torch.float64)) + counts

    def bins(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lower and upper edges of all bins, and how many values above zero lie in each; by upper edge."""
        if not self._counts:
            return (torch.zeros(0, dtype=torch.float64),) * 3
        width = torch.cat([torch.full((BINS,), 2.0**e / BINS, dtype=torch.float64) for e in self._counts])
        upper = width * torch.arange(1, BINS + 1, dtype=torch.float64).repeat(len(self._counts))
        counts = torch.cat(list(self._counts.values()))
        upper, order = upper.sort()
        return upper - width[order], upper, counts[order]

    def quantile(self, share: float, *, with_zeros: bool = True) -> float:
        """The upper edge of the bin below which a share of all values lies, at most the largest; 0 without any."""
        _, upper, counts = self.bins()
        if not len(upper):
            return 0.0
        zeros = self.zeros if with_zeros else 0.0
        wanted = share * (counts.sum() + zeros) - zeros
        if wanted <= 0:
            return 0.0
        place = int(torch.searchsorted(counts.cumsum(0), wanted))
        return min(self.largest, float(upper[min(place, len(upper) - 1)]))
