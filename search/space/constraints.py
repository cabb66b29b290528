"""The limits: what a network must keep to be worth training, and to win."""

from __future__ import annotations

from pydantic import Field

from bevlite.config import Config
from search.latency.summary import LatencySummary


class Limits(Config):
    """`budget_ms` is end to end: preprocessing, engines and decoding; of a measurement, what was measured of it."""

    budget_ms: float = Field(gt=0)
    max_params_m: float | None = Field(default=None, gt=0, description="millions of parameters")

    def violations(self, latency: LatencySummary, parameters: int | None) -> dict[str, float]:
        """How far each limit is exceeded, relative to it; zero or less is within.

        The budget is compared with the lower end of the latency: what may still fit is not thrown away.
        """
        found = {"budget_ms": latency.lower_ms / self.budget_ms - 1}
        if self.max_params_m is not None and parameters is not None:
            found["max_params_m"] = parameters / 1e6 / self.max_params_m - 1
        return found

    def reason(self, latency: LatencySummary, parameters: int | None) -> str | None:
        """Why a network is rejected before training, in words; None when it keeps all limits."""
        broken = {name for name, value in self.violations(latency, parameters).items() if value > 0}
        words = []
        if "budget_ms" in broken:
            words.append(
                f"{latency.kind} latency {latency.total_ms:.1f} ms, even its lower end "
                f"{latency.lower_ms:.1f} ms is over the budget of {self.budget_ms:g} ms"
            )
        if "max_params_m" in broken and parameters is not None:
            words.append(f"{parameters / 1e6:.1f} M parameters, over the limit of {self.max_params_m:g} M")
        return "; ".join(words) or None
