"""The conditions that a latency holds under, and what is wrong with them."""

from __future__ import annotations

import os
import re
import time
from typing import Any, NamedTuple

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.system import paths
from bevlite.agent.system.identity import QUERY_LIMIT_S, nvidia_smi

GPU_CLOCKS = (
    "/sys/class/devfreq/*.gpu",
    "/sys/class/devfreq/*.ga10b",
    "/sys/devices/*.ga10b/devfreq/*",
    "/sys/devices/platform/*.gpu/devfreq/*",
)
GPU_LOADS = ("/sys/devices/gpu.0/load", "/sys/devices/platform/gpu.0/load", "/sys/devices/platform/*.gpu/load")
EVENTS = "/sys/class/hwmon/hwmon*/oc*_event_cnt"
OFF_C = -200.0
"""Below it a sensor has no power (-256)."""
IDLE_LOAD = 0.1
"""GPU load over which somebody else computes."""
LOAD_SAMPLES = 9
GPU_FILES = re.compile(r"/dev/(nvhost-gpu|nvgpu/|nvhost-as-gpu|nvidia\d)")


class GpuClock(NamedTuple):
    """Clock of the GPU in MHz."""

    current: float
    lowest: float
    highest: float

    @property
    def locked(self) -> bool:
        """Whether it may not change."""
        return self.lowest >= self.highest > 0


def gpu_clock() -> GpuClock | None:
    """From sysfs, whose path differs between JetPack 5 and 6; else from nvidia-smi."""
    for folder in paths.find(*GPU_CLOCKS):
        values = [paths.read_number(os.path.join(folder, name)) for name in ("cur_freq", "min_freq", "max_freq")]
        if None not in values:
            return GpuClock(*(float(value or 0) / 1e6 for value in values))
    return None


def temperatures() -> dict[str, float]:
    """Sensors by name in degrees; those without power are left out."""
    found = {}
    for zone in paths.find("/sys/class/thermal/thermal_zone*"):
        name = paths.read(os.path.join(zone, "type"))
        value = paths.read_number(os.path.join(zone, "temp"))
        if name and value is not None and value / 1000 > OFF_C:
            found[re.sub(r"[-_]?thermal$", "", name.lower(), flags=re.I)] = value / 1000
    return found


def throttle_events() -> int:
    """Counts of over-current events since boot."""
    return int(sum(paths.read_number(path) or 0 for path in paths.find(EVENTS)))


def read(jetson: bool, users: bool = True) -> dict[str, Any]:
    """All conditions of the moment. What cannot be read is null; `users` of the GPU take a while to find."""
    clock, mode = gpu_clock(), power_mode() if jetson else (None, None)
    heat = temperatures()
    memory = memory_free_mb()
    disk = os.statvfs(paths.home() if os.path.isdir(paths.home()) else "/")
    found: dict[str, Any] = {
        "power_mode": mode[0],
        "power_mode_id": mode[1],
        "gpu_clock_mhz": clock.current if clock else None,
        "gpu_max_clock_mhz": clock.highest if clock else None,
        "clocks_locked": clock.locked if clock else None,
        "cpu_governor": paths.read(paths.at("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "temperature_c": heat.get("tj", max(heat.values()) if heat else None),
        "temperatures_c": heat,
        "memory_free_mb": memory,
        "disk_free_mb": disk.f_bavail * disk.f_frsize / 1e6,
        "throttle_events": throttle_events(),
        "gpu_users": gpu_users() if users else [],
    }
    if not jetson:
        _read_pc(found)
    return found


def power_mode() -> tuple[str | None, int | None]:
    """Name and number of the nvpmodel mode; on some releases only root may ask."""
    program = paths.program("nvpmodel")
    if program is None:
        return None, None
    for prefix in ([], ["sudo", "-n"]):
        try:
            done = process.run([*prefix, program, "-q"], QUERY_LIMIT_S, "conditions")
        except Fault:
            continue
        name = re.search(r"NV Power Mode: *(\S+)", done.text)
        number = re.search(r"(?m)^(\d+)\s*$", done.text)
        if name:
            return name.group(1), int(number.group(1)) if number else None
    return None, None


def modes() -> dict[str, int]:
    """Power modes by name. Names and numbers differ between releases: they are read, never assumed."""
    text = paths.read(paths.at("/etc/nvpmodel.conf")) or ""
    return {name: int(number) for number, name in re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text)}


def gpu_users() -> list[str]:
    """Other processes on the GPU: by nvidia-smi, by their open device files, and by load while we are idle."""
    users = [f"{name} (process {pid})" for pid, name in _rows(nvidia_smi("pid,process_name", "compute-apps"))]
    users += _open_devices()
    load = _load()
    if not users and load > IDLE_LOAD:
        users.append(f"unknown (GPU load {load:.0%} while nothing of ours runs)")
    return list(dict.fromkeys(users))


def _rows(rows: list[list[str]]) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in rows if len(row) >= 2 and row[0].isdigit()]


def _open_devices() -> list[str]:
    """Processes with an open GPU device; those of other users are seen by root alone."""
    found = []
    for folder in paths.find("/proc/[0-9]*"):
        pid = os.path.basename(folder)
        if int(pid) == os.getpid():
            continue
        try:
            files = os.listdir(os.path.join(folder, "fd"))
        except OSError:
            continue
        for name in files:
            try:
                target = os.readlink(os.path.join(folder, "fd", name))
            except OSError:
                continue
            if GPU_FILES.search(target):
                command = paths.read(os.path.join(folder, "comm")) or "unknown"
                # The desktop holds the GPU open without computing; load tells whether it does.
                if command not in ("Xorg", "gnome-shell", "nvargus-daemon"):
                    found.append(f"{command} (process {pid})")
                break
    return found


def _load() -> float:
    """Median GPU load over a third of a second; the end of a run of our own is in the first samples at most."""
    samples = []
    for _ in range(LOAD_SAMPLES):
        value = next((v for v in map(paths.read_number, paths.find(*GPU_LOADS)) if v is not None), None)
        if value is None:
            return 0.0
        samples.append(value / 1000)
        time.sleep(0.33 / LOAD_SAMPLES)
    return sorted(samples)[LOAD_SAMPLES // 2]


def memory_free_mb() -> float | None:
    """What programs can still take, in MB (MiB, as the kernel counts)."""
    text = paths.read(paths.at("/proc/meminfo")) or ""
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found.group(1)) / 1024 if found else None


def _read_pc(found: dict[str, Any]) -> None:
    """A PC: what nvidia-smi knows. Its GPU raises its own clock, so `locked` is not asked of it."""
    query = "clocks.sm,clocks.max.sm,temperature.gpu,memory.free,persistence_mode"
    rows = nvidia_smi(query)
    if rows and len(rows[0]) >= 4:
        numbers = [float(cell) if re.match(r"^[\d.]+$", cell) else None for cell in rows[0][:4]]
        found["gpu_clock_mhz"], found["gpu_max_clock_mhz"], found["temperature_c"], found["memory_free_mb"] = numbers
