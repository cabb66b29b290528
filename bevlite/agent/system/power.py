"""Power, clock and temperature while an engine runs: from the INA3221 in sysfs, else from tegrastats."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, NamedTuple

from bevlite.agent import process
from bevlite.agent.system import conditions, paths, tegrastats

INTERVAL_S = 0.1
MONITORS = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
COVERS = {
    "VDD_GPU_SOC": "GPU and SoC",
    "VDD_CPU_CV": "CPU, DLA and PVA",
    "VIN_SYS_5V0": "5 V of the module: memory and interfaces",
    "VDDQ_VDD2_1V8AO": "memory I/O and always-on 1.8 V; it is not known whether VIN_SYS_5V0 contains it",
    "VDD_IN": "input of the whole module",
    "VDD_CPU_GPU_CV": "CPU, GPU, DLA and PVA; VDD_IN contains it",
    "VDD_SOC": "SoC; VDD_IN contains it",
}
AGX_SUM = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
"""AGX Orin has no rail for its whole input: the common estimate is this sum."""
MISSING = "carrier board, fan and devices on it (published wall power lies 6-7 W above the rails)"


class Sample(NamedTuple):
    """One moment: `at` on the monotonic clock in s, rails in W, GPU clock in MHz, temperature in degrees."""

    at: float
    rails_w: dict[str, float]
    gpu_mhz: float | None
    temperature_c: float | None


class Sampler:
    """Samples in the background between `start` and `stop`."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._rails = _sysfs_rails()
        self._tegrastats: Any = None
        self.source = "ina3221" if self._rails else "none"

    def start(self) -> None:
        """Begin. Where sysfs has no rails, tegrastats is started (from the calling thread)."""
        program = None if self._rails else paths.program("tegrastats")
        work: Callable[[], None] = self._from_sysfs
        if program is not None:
            self.source = "tegrastats"
            self._tegrastats = process.start([program, "--interval", str(int(self._interval_s * 1000))])
            work = self._from_tegrastats
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def take(self) -> None:
        """A sample at once, beside those of the interval; tegrastats gives none on demand."""
        if self._tegrastats is None:
            self._sample()

    def drain(self) -> list[Sample]:
        """The samples so far, which are then forgotten: of a run of hours."""
        found, self._samples = self._samples, []
        return found

    def stop(self) -> list[Sample]:
        """End, and give all samples."""
        self._ended.set()
        if self._tegrastats is not None:
            process.stop(self._tegrastats)
        if self._thread is not None:
            self._thread.join(timeout=5)
        return list(self._samples)

    def _from_sysfs(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            self._sample()
            self._ended.wait(max(0.0, began + self._interval_s - time.monotonic()))

    def _sample(self) -> None:
        began = time.monotonic()
        clock, heat = conditions.gpu_clock(), conditions.temperatures()
        rails = {name: _watts(folder, channel) for name, (folder, channel) in self._rails.items()}
        hottest = heat.get("tj", max(heat.values()) if heat else None)
        known = {name: watts for name, watts in rails.items() if watts is not None}
        self._samples.append(Sample(began, known, clock.current if clock else None, hottest))

    def _from_tegrastats(self) -> None:
        for raw in self._tegrastats.stdout:
            found = tegrastats.parse(raw.decode("utf-8", "replace"))
            if found is not None:
                heat = found.temperatures_c
                hottest = heat.get("tj", max(heat.values()) if heat else None)
                self._samples.append(Sample(time.monotonic(), found.rails_w, found.gpu_mhz, hottest))


def summary(samples: list[Sample], source: str) -> dict[str, Any] | None:
    """Mean and highest power of every rail, the module's estimate, what is not in it, and how power, temperature and
    clock went meanwhile; None without rails."""
    names = sorted({name for sample in samples for name in sample.rails_w})
    if not names:
        return None
    rails: list[dict[str, Any]] = []
    for name in names:
        values = [s.rails_w[name] for s in samples if name in s.rails_w]
        mean = sum(values) / len(values)
        rails.append({"name": name, "mean_w": mean, "max_w": max(values), "covers": COVERS.get(name, "not known")})
    total, of = _total({rail["name"]: rail["mean_w"] for rail in rails})
    return {
        "source": source,
        "samples": len(samples),
        "rails": rails,
        "module_w": total,
        "module_of": of,
        "missing": MISSING,
        "course": {
            "at_s": [s.at for s in samples],
            "module_w": [_total(s.rails_w)[0] for s in samples],
            "temperature_c": [s.temperature_c for s in samples],
            "gpu_mhz": [s.gpu_mhz for s in samples],
        },
    }


def _total(means: dict[str, float]) -> Any:
    """The module's power from that of its rails, and which rails it is the sum of."""
    if "VDD_IN" in means:
        return means["VDD_IN"], "VDD_IN"
    if all(name in means for name in AGX_SUM):
        return sum(means[name] for name in AGX_SUM), " + ".join(AGX_SUM)
    return None, ""


def _sysfs_rails() -> dict[str, Any]:
    """Folder and channel by rail. Channel 7 is the sum of the shunts, and NC is not connected."""
    found = {}
    for folder in paths.find(MONITORS):
        for channel in (1, 2, 3):
            name = paths.read(os.path.join(folder, f"in{channel}_label"))
            if name and name != "NC":
                found[name] = (folder, channel)
    return found


def _watts(folder: str, channel: int) -> float | None:
    volts = paths.read_number(os.path.join(folder, f"in{channel}_input"))
    amperes = paths.read_number(os.path.join(folder, f"curr{channel}_input"))
    return volts * amperes / 1e6 if volts is not None and amperes is not None else None
