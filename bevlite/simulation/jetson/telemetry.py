"""Clocks, power and temperatures of the board as they follow from its load."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

from bevlite.simulation.jetson import processes
from bevlite.simulation.jetson.folder import BoardFolder

IDLE_GPU_MHZ = 306.0
IDLE_CPU_MHZ = 729.6
AMBIENT_C = 36.0
KELVIN_PER_WATT = 0.75
HEATING_S = 25.0
RAMP_S = 0.4
THROTTLED = 0.66
"""Share of the GPU clock that is left when the board throttles."""
SHUNT_STEP_MA = 20
"""The INA3221 sees steps of 20 mA: 390 mW on a 19.5 V rail, 100 mW on 5 V. Source: 2 mOhm shunts of p3701."""


@dataclass(frozen=True)
class Rail:
    """One INA3221 channel."""

    name: str
    millivolts: int
    milliamps: int

    @property
    def milliwatts(self) -> int:
        """Power as tegrastats prints it."""
        return self.millivolts * self.milliamps // 1000


@dataclass(frozen=True)
class Telemetry:
    """One look at the board. Clocks in MHz, loads in percent, temperatures in Celsius."""

    gpu_percent: float
    gpu_mhz: float
    cpu_mhz: float
    emc_percent: float
    emc_mhz: float
    cpu_percent: float
    used_mib: float
    temperature: float
    throttled: bool
    rails: tuple[Rail, ...]
    at: float


def _rail(name: str, millivolts: int, watts: float) -> Rail:
    milliamps = watts * 1e6 / millivolts
    return Rail(name, millivolts, max(SHUNT_STEP_MA, round(milliamps / SHUNT_STEP_MA) * SHUNT_STEP_MA))


def gpu_clock_mhz(board: BoardFolder, busy_s: float | None, throttled: bool) -> float:
    """The GPU clock: locked clocks stay, others ramp up under load and wander. `busy_s`: None when idle."""
    top = board.mode.gpu_mhz
    if throttled:
        return top * THROTTLED
    if board.clocks_locked:
        return top
    if busy_s is None:
        return IDLE_GPU_MHZ
    ramp = min(1.0, busy_s / RAMP_S)
    return (IDLE_GPU_MHZ + (top - IDLE_GPU_MHZ) * ramp) * random.choice((1.0, 1.0, 1.0, 0.93))


def is_throttled(board: BoardFolder) -> bool:
    """Whether a run keeps the GPU too hot at this moment; `throttling` names its process."""
    try:
        return processes.is_alive(int((board.path / "throttling").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def look(board: BoardFolder, previous_c: float, elapsed_s: float) -> Telemetry:
    """The board now; `previous_c` is the junction temperature `elapsed_s` emulated seconds ago."""
    loads = board.loads()
    mode = board.mode
    share = min(1.0, sum(load.gpu for load in loads))
    memory = min(1.0, sum(load.memory for load in loads))
    now = time.time()
    busy_s = None if not loads else max(now - min(load.started for load in loads), 0.0) / max(board.time_scale, 1e-6)
    throttled = is_throttled(board)
    clock = gpu_clock_mhz(board, busy_s, throttled)
    tpcs = mode.tpcs / board.module.tpcs
    # Dynamic power grows faster than the clock since the voltage rises with it.
    gpu_w = 2.4 + (0.9 if board.clocks_locked else 0.0) + share * tpcs * 25.0 * (clock / 1300.5) ** 1.7
    cpu_w = 0.4 + 1.3 * min(len(loads), 3) * (mode.cpu_mhz / 2201.6)
    five_w = 4.0 + 3.8 * memory * mode.emc_mhz / 3199
    power = gpu_w + cpu_w + five_w
    target = AMBIENT_C + KELVIN_PER_WATT * power
    temperature = target + (previous_c - target) * math.exp(-elapsed_s / HEATING_S)
    if throttled:
        temperature = max(temperature, 99.5)
    wobble = random.gauss(1.0, 0.012)
    rails = (
        _rail("VDD_GPU_SOC", random.choice((19520, 19528, 19512)), gpu_w * wobble),
        _rail("VDD_CPU_CV", random.choice((19520, 19528)), cpu_w * wobble),
        _rail("VIN_SYS_5V0", random.choice((5024, 5032)), five_w * wobble),
        _rail("VDDQ_VDD2_1V8AO", 5024, 0.3 + 1.6 * memory),
    )
    return Telemetry(
        gpu_percent=min(99.0, share * 99 * random.uniform(0.97, 1.0)) if loads else 0.0,
        gpu_mhz=clock,
        cpu_mhz=mode.cpu_mhz if board.clocks_locked or loads else IDLE_CPU_MHZ,
        emc_percent=round(100 * memory),
        emc_mhz=mode.emc_mhz if board.clocks_locked or loads else min(2133.0, mode.emc_mhz),
        cpu_percent=min(100.0, 100.0 * len(loads) / mode.cpus) + random.uniform(0, 3),
        used_mib=3900 + sum(load.memory_mib for load in loads) + random.uniform(0, 30),
        temperature=temperature,
        throttled=throttled,
        rails=rails,
        at=now,
    )
