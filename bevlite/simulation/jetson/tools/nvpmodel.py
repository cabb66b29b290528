"""`nvpmodel`: shows and changes the power mode; a change of the core or TPC mask wants a reboot."""

from __future__ import annotations

import sys

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.tools.sudo import is_root


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Query (`-q`), list (`-p`) or set (`-m ID`, `--force` answers yes) the mode."""
    if "-p" in arguments:
        for mode in board.module.modes:
            print(f"POWER_MODEL: ID={mode.id} NAME={mode.name}")
        print(f"PM_CONFIG: DEFAULT={board.module.default_mode}")
        return 0
    if "-m" in arguments:
        return _set(board, arguments)
    if "-q" in arguments or "--query" in arguments:
        print(f"NV Power Mode: {board.mode.name}\n{board.mode.id}")
        return 0
    print("NVPM ERROR: nothing to do; use -q, -p or -m <id>", file=sys.stderr)
    return 255


def _set(board: BoardFolder, arguments: list[str]) -> int:
    if not is_root():
        print("NVPM ERROR: Error opening /sys/devices/system/cpu/cpu0/online: 13", file=sys.stderr)
        print("NVPM ERROR: failed to set power mode!", file=sys.stderr)
        return 255
    wanted = arguments[arguments.index("-m") + 1 :][:1]
    known = {str(mode.id): mode for mode in board.module.modes}
    if not wanted or wanted[0] not in known:
        print(f"NVPM ERROR: Invalid power mode: {wanted[0] if wanted else 'none'}", file=sys.stderr)
        return 255
    new, old = known[wanted[0]], board.mode
    if new.id == old.id:
        return 0
    masks_change = (new.cpus, new.tpc_mask) != (old.cpus, old.tpc_mask)
    if not masks_change and board.faults.active("nvpmodel_reboot") is None:
        board.change(mode=new.id, clocks_locked=False)
        return 0
    print("NVPM WARN: Golden image context is already created")
    print("NVPM WARN: Reboot required for changing to this power mode: ", new.id)
    print("NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm: ", flush=True)
    if "--force" not in arguments and sys.stdin.readline().strip().lower() not in ("yes", "y"):
        print("NVPM ERROR: User declined reboot; the power mode was not changed", file=sys.stderr)
        return 255
    board.change(pending_mode=new.id)
    board.reboot()
    return 0
