"""The files under the root that the kernel of a Jetson would keep: clocks, rails, temperatures, memory, uptime."""

from __future__ import annotations

import time
from pathlib import Path

from bevlite.simulation.jetson import store
from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.telemetry import Telemetry, look

ZONES = ("cpu-thermal", "gpu-thermal", "soc0-thermal", "soc1-thermal", "soc2-thermal", "tj-thermal")
ZONE_OFFSETS_C = (0.4, -0.6, -1.9, -1.2, -2.6, 0.6)
"""How far each zone lies from the GPU's temperature; `tj` is the hottest."""


def gpu_folders(telemetry: str) -> tuple[str, ...]:
    """Where the GPU's clock files lie: JetPack 5 names the chip, JetPack 6 and 7 do not."""
    if telemetry == "jp5":
        return ("sys/devices/17000000.ga10b/devfreq/17000000.ga10b", "sys/class/devfreq/17000000.ga10b")
    return ("sys/class/devfreq/17000000.gpu",)


def _clocks(board: BoardFolder, seen: Telemetry) -> dict[str, str]:
    mode, locked = board.mode, board.clocks_locked
    files = {}
    top = int(mode.gpu_mhz * 1e6)
    for folder in gpu_folders(board.release.telemetry):
        files[f"{folder}/cur_freq"] = str(int(seen.gpu_mhz * 1e6))
        files[f"{folder}/max_freq"] = str(top)
        files[f"{folder}/min_freq"] = str(top if locked else 306000000)
        files[f"{folder}/governor"] = "nvhost_podgov"
    files["sys/devices/system/cpu/online"] = f"0-{mode.cpus - 1}"
    top_khz = int(mode.cpu_mhz * 1000)
    for cpu in range(board.module.cpus):
        online = cpu < mode.cpus
        here = f"sys/devices/system/cpu/cpu{cpu}"
        files[f"{here}/online"] = str(int(online))
        files[f"{here}/cpufreq/scaling_governor"] = "schedutil"
        files[f"{here}/cpufreq/scaling_max_freq"] = str(top_khz)
        files[f"{here}/cpufreq/scaling_min_freq"] = str(top_khz if locked else 729600)
        files[f"{here}/cpufreq/scaling_cur_freq"] = str(int(seen.cpu_mhz * 1000) if online else 0)
    for folder in ("sys/devices/gpu.0", "sys/devices/platform/gpu.0"):
        files[f"{folder}/load"] = str(round(seen.gpu_percent * 10))
        files[f"{folder}/tpc_pg_mask"] = str(mode.tpc_mask)
    return files


def _rails(seen: Telemetry) -> dict[str, str]:
    gpu, cpu, five, memory = seen.rails
    first = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    second = "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4"
    files = {f"{first}/name": "ina3221", f"{second}/name": "ina3221"}
    for channel, rail in enumerate((gpu, cpu, five), start=1):
        files[f"{first}/in{channel}_label"] = rail.name
        files[f"{first}/in{channel}_input"] = str(rail.millivolts)
        files[f"{first}/curr{channel}_input"] = str(rail.milliamps)
    files[f"{first}/in7_label"] = "sum of shunt voltages"
    files[f"{first}/in7_input"] = "0"
    for channel in (1, 3):
        files[f"{second}/in{channel}_label"] = "NC"
        files[f"{second}/in{channel}_input"] = "0"
        files[f"{second}/curr{channel}_input"] = "0"
    files[f"{second}/in2_label"] = memory.name
    files[f"{second}/in2_input"] = str(memory.millivolts)
    files[f"{second}/curr2_input"] = str(memory.milliamps)
    return files


def _memory(board: BoardFolder, seen: Telemetry) -> str:
    total = board.module.memory_mib * 1024
    available = max(0, total - int(seen.used_mib * 1024))
    return "\n".join(
        f"{name}:{value:>15} kB"
        for name, value in (
            ("MemTotal", total), ("MemFree", int(available * 0.8)), ("MemAvailable", available), ("Buffers", 120000),
            ("Cached", int(available * 0.2)), ("SwapTotal", total // 2), ("SwapFree", total // 2),
        )
    )  # fmt: skip


def files(board: BoardFolder, seen: Telemetry) -> dict[str, str]:
    """Every file that changes, by its path under the root."""
    out = {**_clocks(board, seen), **_rails(seen)}
    for index, (zone, offset) in enumerate(zip(ZONES, ZONE_OFFSETS_C, strict=True)):
        out[f"sys/class/thermal/thermal_zone{index}/type"] = zone
        out[f"sys/class/thermal/thermal_zone{index}/temp"] = str(int((seen.temperature + offset) * 1000))
    for event in (1, 2, 3):
        out[f"sys/class/hwmon/hwmon2/oc{event}_event_cnt"] = str(int(board.state.get("oc_events", 0)) * (event == 1))
    uptime = board.uptime_s()
    out["proc/uptime"] = f"{uptime:.2f} {uptime * board.mode.cpus * 0.93:.2f}"
    out["proc/meminfo"] = _memory(board, seen)
    clients = "".join(f"user  {n.name:>16} {n.pid:>8} {int(n.memory_mib * 1024):>10}K\n" for n in board.loads())
    out["sys/kernel/debug/nvmap/iovmm/clients"] = "CLIENT          PROCESS      PID        SIZE\n" + clients
    return out


def refresh(board: BoardFolder) -> None:
    """Write what changed since the last time, each file at once."""
    state = board.state
    now = time.time()
    elapsed_s = (now - float(state.get("looked_at", now))) / max(board.time_scale, 1e-6)
    seen = look(board, float(state["temperature"]), elapsed_s)
    board.change(temperature=seen.temperature, looked_at=now)
    for name, text in files(board, seen).items():
        _put(board.root / name, text)


def _put(path: Path, text: str) -> None:
    line = text if text.endswith("\n") else text + "\n"
    try:
        if path.read_text(encoding="utf-8") == line:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(path, line)
