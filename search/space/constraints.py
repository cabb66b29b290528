"""The limits: what a network must keep to be worth training, and to win."""

from __future__ import annotations

import re

from pydantic import Field

from bevlite.config import Config
from bevlite.errors import ConfigError
from search.latency.summary import LatencySummary


class Limits(Config):
    """`budget_ms` is end to end: preprocessing, engines and decoding; of a measurement, what was measured of it.

    `min_fps` is the frame rate with one frame in flight, and so another budget: what binds is `most_ms`.
    `max_memory_mb` is of engines with their contexts, predicted or measured; `max_power_w` of the module while the
    engine runs that draws most, which boards measure: for a prediction the power mode has to keep it.
    """

    budget_ms: float = Field(gt=0, allow_inf_nan=False)
    min_fps: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="frames a second")
    max_params_m: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="millions of parameters")
    max_memory_mb: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="MB of all engines")
    max_power_w: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="W of the module")

    @property
    def most_ms(self) -> float:
        """The latency that counts: the budget, or what the frame rate leaves."""
        return self.budget_ms if self.min_fps is None else min(self.budget_ms, 1000.0 / self.min_fps)

    def violations(self, latency: LatencySummary, parameters: int | None) -> dict[str, float]:
        """How far each limit is exceeded, relative to it; zero or less is within, and what is not known is not there.

        The budget is compared with the lower end of the latency: what may still fit is not thrown away.
        """
        found = {"budget_ms": latency.lower_ms / self.most_ms - 1}
        for name, value, limit in (
            ("max_params_m", None if parameters is None else parameters / 1e6, self.max_params_m),
            ("max_memory_mb", latency.memory_mb, self.max_memory_mb),
            ("max_power_w", latency.power_w, self.max_power_w),
        ):
            if limit is not None and value is not None:
                found[name] = value / limit - 1
        return found

    def reason(self, latency: LatencySummary, parameters: int | None) -> str | None:
        """Why a network is rejected before training, in words; None when it keeps all limits."""
        broken = {name for name, value in self.violations(latency, parameters).items() if value > 0}
        words = []
        if "budget_ms" in broken:
            of = f"the budget of {self.budget_ms:g} ms"
            if self.most_ms < self.budget_ms:
                of = f"the {self.most_ms:.1f} ms that {self.min_fps:g} frames a second leave"
            words.append(
                f"{latency.kind} latency {latency.total_ms:.1f} ms, even its lower end "
                f"{latency.lower_ms:.1f} ms is over {of}"
            )
        if "max_params_m" in broken and parameters is not None:
            words.append(f"{parameters / 1e6:.1f} M parameters, over the limit of {self.max_params_m:g} M")
        if "max_memory_mb" in broken:
            words.append(f"{latency.kind} {latency.memory_mb:.0f} MB, over the limit of {self.max_memory_mb:g} MB")
        if "max_power_w" in broken:
            words.append(f"{latency.kind} {latency.power_w:.1f} W, over the limit of {self.max_power_w:g} W")
        return "; ".join(words) or None

    def check_power(self, mode: str, modes: list[str], measures: bool) -> None:
        """Refuse a limit of power that nobody would look at: predictions know none, but modes have caps.

        Args:
            mode: the power mode of the search.
            modes: all of the board, such as MAXN, 30W.
            measures: whether boards measure it.

        Raises:
            ConfigError: the mode may draw more.
        """
        if self.max_power_w is None or measures:
            return
        caps = {name: float(found[1]) for name in modes if (found := re.fullmatch(r"(\d+)W.*", name))}
        if caps.get(mode, float("inf")) <= self.max_power_w:
            return
        keep = [name for name, cap in caps.items() if cap <= self.max_power_w]
        accepted = f"device.power_mode {' or '.join(keep)}, or boards, which measure it" if keep else "boards"
        raise ConfigError(
            f"constraints.max_power_w: found {self.max_power_w:g} with predictions for {mode}, which know no power; "
            f"accepted: {accepted}"
        )
