"""Change the conditions where the user allows it: power mode and clocks, through sudo that asks nothing."""

from __future__ import annotations

import time

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.system import conditions, paths

LIMIT_S = 60.0
SETTLE_S = 2.0
_PASSWORD = ("a password is required", "a terminal is required", "no tty present", "password for")
_REBOOT = ("reboot", "REBOOT")


def prepare(power_mode: str | None, lock_clocks: bool) -> list[str]:
    """Set the mode and lock the clocks; both are lost at the next boot. Returns what was done.

    Raises:
        Fault: `bad_request` for an unknown mode, `nvpmodel_reboot` when the mode needs one, `sudo_password` when
            sudo would ask, `program_missing`.
    """
    done = []
    current, _ = conditions.power_mode()
    if power_mode and power_mode != current:
        numbers = conditions.modes()
        if power_mode not in numbers:
            message = "power mode: found '{}'; accepted: {}"
            raise Fault("bad_request", message.format(power_mode, ", ".join(numbers) or "(none known)"))
        _sudo("nvpmodel", "-m", str(numbers[power_mode]))
        reached, _ = conditions.power_mode()
        if reached != power_mode:
            raise Fault("nvpmodel_reboot", _needs_reboot(power_mode), fix=_reboot_fix(numbers[power_mode]))
        done.append(f"power mode set to {power_mode}")
    clock = conditions.gpu_clock()
    if lock_clocks and (clock is None or not clock.locked):
        _sudo("jetson_clocks")
        _require_locked()
        done.append("clocks locked")
    return done


def _sudo(name: str, *arguments: str) -> None:
    program, sudo = paths.program(name), paths.program("sudo")
    if program is None or sudo is None:
        raise Fault("program_missing", "{} is not on the board".format(name if program is None else "sudo"))
    finished = process.run([sudo, "-n", program, *arguments], LIMIT_S, "prepare")
    text = finished.text
    command = " ".join(["sudo", name, *arguments])
    if finished.code != 0 and any(sign in text for sign in _PASSWORD):
        message = f"sudo wants a password for {name}: run it on the board, or allow it in /etc/sudoers.d"
        raise Fault("sudo_password", message, fix=command)
    if name == "nvpmodel" and any(sign in text for sign in _REBOOT):
        raise Fault("nvpmodel_reboot", _needs_reboot(arguments[-1]), fix=_reboot_fix(int(arguments[-1])))
    if finished.code != 0:
        last = text.strip().splitlines()[-1:] or ["no output"]
        raise Fault("settings_failed", f"{command}: ended with code {finished.code}: {last[0]}")


def _require_locked() -> None:
    """The kernel needs a moment to show it; jetson_clocks may also have reported a success that is none."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        clock = conditions.gpu_clock()
        if clock is not None and clock.locked:
            return
        time.sleep(0.05)
    raise Fault(
        "clocks_unlocked", "jetson_clocks reported success, and the clocks are not locked", fix="reboot the board"
    )


def _needs_reboot(mode: str) -> str:
    return f"power mode {mode} needs a reboot, which is not done without you"


def _reboot_fix(number: int) -> str:
    return f"sudo nvpmodel -m {number} (answer the question about the reboot)"
