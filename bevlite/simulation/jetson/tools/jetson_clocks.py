"""`jetson_clocks`: locks the clocks at the maximum of the power mode until the next boot."""

from __future__ import annotations

import sys

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.telemetry import look
from bevlite.simulation.jetson.tools.sudo import is_root


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Lock (no argument), `--show`, `--store [FILE]`, `--restore [FILE]`, `--fan`."""
    if not is_root():
        print("Error: jetson_clocks must be run as root (sudo)", file=sys.stderr)
        return 1
    command = arguments[0] if arguments else ""
    if command == "--show":
        _show(board)
    elif command == "--store":
        board.change(stored_clocks=bool(board.state["clocks_locked"]))
    elif command == "--restore":
        stored = board.state.get("stored_clocks")
        if stored is None:
            print("Error: Please store the settings first", file=sys.stderr)
            return 1
        board.change(clocks_locked=stored)
    elif command in ("", "--fan"):
        board.change(clocks_locked=True)
    else:
        print(f"Error: Unknown option {command}", file=sys.stderr)
        return 1
    return 0


def _show(board: BoardFolder) -> None:
    seen = look(board, float(board.state["temperature"]), 0.0)
    mode, locked = board.mode, board.clocks_locked
    top = int(mode.cpu_mhz * 1000)
    low = top if locked else 729600
    print(f"SOC family:tegra234  Machine:{board.module.model}")
    print(f"Online CPUs: 0-{mode.cpus - 1}")
    for cpu in range(board.module.cpus):
        online = int(cpu < mode.cpus)
        now = int(seen.cpu_mhz * 1000)
        idle = "WFI=0 c7=0" if locked else "WFI=1 c7=1"
        print(
            f"cpu{cpu}: Online={online} Governor=schedutil MinFreq={low} MaxFreq={top} CurrentFreq={now} "
            f"IdleStates: {idle} "
        )
    gpu, emc = int(mode.gpu_mhz * 1e6), int(mode.emc_mhz * 1e6)
    print(f"GPU MinFreq={gpu if locked else 306000000} MaxFreq={gpu} CurrentFreq={int(seen.gpu_mhz * 1e6)}")
    now = int(seen.emc_mhz * 1e6)
    print(f"EMC MinFreq=204000000 MaxFreq={emc} CurrentFreq={now} FreqOverride={int(locked)}")
    print(f"NV Power Mode: {mode.name}")
