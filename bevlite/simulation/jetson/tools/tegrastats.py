"""`tegrastats` in the format of JetPack 5, 6 and 7.

Formats: lines in the wild of 35.x, 36.4 and 39.2 (rbonghi/jetson_stats fixtures and issues).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import IO

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.telemetry import Telemetry, look
from bevlite.simulation.jetson.tools.sudo import is_root

Averages = dict[str, tuple[int, int]]
GATED_C = -256
OTHER_ENGINES = {
    "jp6": "NVENC off NVDEC off NVJPG off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174",
    "jp7": "NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174",
}


def _rails(seen: Telemetry, style: str, averages: Averages) -> str:
    words = []
    for rail in seen.rails[: 4 if style == "jp5" else 3]:
        total, count = averages.get(rail.name, (0, 0))
        averages[rail.name] = total + rail.milliwatts, count + 1
        average = (total + rail.milliwatts) // (count + 1)
        values = [rail.milliwatts, average] + [rail.milliwatts] * (style == "jp7")
        words.append(f"{rail.name} " + "/".join(f"{v}mW" for v in values))
    if style == "jp5":  # two channels of the second monitor are not connected
        words[3:3] = ["NC 0mW/0mW"]
        words.append("NC 0mW/0mW")
    return " ".join(words)


def _temperatures(t: float, style: str, gpu_on: bool) -> str:
    if style == "jp5":
        gpu = f"{t - 0.6:.3f}" if gpu_on else GATED_C
        return (
            f"CV0@{GATED_C}C CPU@{t:.3f}C Tboard@{t - 11:.0f}C SOC2@{t - 2.6:.3f}C Tdiode@{t - 10:.0f}C "
            f"SOC0@{t - 1.9:.3f}C CV1@{GATED_C}C GPU@{gpu}C tj@{t + 0.6:.3f}C SOC1@{t - 1.2:.3f}C CV2@{GATED_C}C"
        )
    zones = [("cpu", t), ("soc2", t - 2.6), ("soc0", t - 1.9)]
    zones += [("gpu", t - 0.6)] if gpu_on else []
    zones += [("tj", t + 0.6), ("soc1", t - 1.2)]
    return " ".join(f"{n}@{v:.3f}C" + (f"/{v:.3f}C" if style == "jp7" else "") for n, v in zones)


def line(board: BoardFolder, seen: Telemetry, averages: Averages, as_root: bool) -> str:
    """One line for one look at the board; `averages` carries the sums since the start."""
    style, module = board.release.telemetry, board.module
    mode = board.mode
    stamp = time.strftime("%m-%d-%Y %H:%M:%S", time.localtime(board.now()))
    cpu = ",".join(
        f"{seen.cpu_percent:.0f}%@{seen.cpu_mhz:.0f}" if n < mode.cpus else "off" for n in range(module.cpus)
    )
    running = seen.gpu_percent > 0 or board.clocks_locked
    clock = int(seen.gpu_mhz) if running else 0
    free = max(1, int((module.memory_mib - seen.used_mib) / 4 / 8))
    parts = [stamp, f"RAM {seen.used_mib:.0f}/{module.memory_mib}MB (lfb {free}x4MB)"]
    if style != "jp7":
        parts.append(f"SWAP 0/{module.memory_mib // 2}MB (cached 0MB)")
    parts.append(f"CPU [{cpu}]")
    if as_root:
        parts.append(f"EMC_FREQ {seen.emc_percent:.0f}%@{seen.emc_mhz:.0f}")
    parts.append(f"GR3D_FREQ {seen.gpu_percent:.0f}%@[{clock},{clock}]")
    parts.append("VIC_FREQ 729 APE 174" if style == "jp5" else OTHER_ENGINES[style])
    parts.append(_temperatures(seen.temperature, style, running))
    parts.append(_rails(seen, style, averages))
    return " ".join(parts)


def _stop(pid_file: Path) -> int:
    try:
        os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGTERM)
    except (OSError, ValueError):
        return 0
    pid_file.unlink(missing_ok=True)
    return 0


def _print_lines(board: BoardFolder, interval_s: float, output: IO[str]) -> None:
    averages: Averages = {}
    temperature = float(board.state["temperature"])
    last = time.time()
    while True:
        now = time.time()
        seen = look(board, temperature, (now - last) / max(board.time_scale, 1e-6))
        temperature, last = seen.temperature, now
        print(line(board, seen, averages, is_root()), file=output, flush=True)
        time.sleep(interval_s)


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Print lines until stopped: `--interval MS` (1000), `--logfile FILE`, `--stop`, `--help`."""
    pid_file = board.path / "tegrastats.pid"
    if "--stop" in arguments:
        return _stop(pid_file)
    options = dict(pairwise(arguments))
    interval = options.get("--interval", "1000")
    if "--help" in arguments or not interval.isdigit() or int(interval) == 0:
        print("Usage: tegrastats [--interval <millisec>] [--logfile <filename>] [--stop]")
        return 0 if "--help" in arguments else 1
    pid_file.write_text(str(os.getpid()), encoding="utf-8")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if "--logfile" in options:
        with open(options["--logfile"], "a", encoding="utf-8") as log:
            _print_lines(board, int(interval) / 1000, log)
    _print_lines(board, int(interval) / 1000, sys.stdout)
    return 0
