"""What can go wrong on the board, set from outside while it runs. State: `faults.json` in the board folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bevlite.errors import ConfigError
from bevlite.simulation.jetson import keys, store

FAULTS = {
    "auth_refused": "the board no longer knows the user's key",
    "clock_jump": "`date`, log stamps and /proc/uptime under the root jump by `seconds` (3600), also `during` measure",
    "clocks_unlocked": "jetson_clocks reports success and holds nothing",
    "connection_drop": "the connection dies in `phase` copy, build, measure, result; `after` bytes, or `at` a share",
    "cuda_graph_refused": "the engine cannot be captured",
    "disk_full": "no space left: `of` uploads, results or trtexec (all of them); `free` bytes of a file still fit",
    "engine_other_module": "a plan loads with the warning about another model of device",
    "engine_other_version": "a plan was built by another version and is refused",
    "fp32_engine": "the builder silently keeps every layer in FP32",
    "hang": "trtexec goes silent for `seconds` (86400) in `phase` build or measure",
    "host_key_changed": "the board shows another host key",
    "killed": "the kernel kills trtexec (exit 137) in `phase` build or measure",
    "nan_outputs": "the outputs of engines are NaN",
    "nvpmodel_reboot": "every change of power mode asks for a reboot",
    "other_gpu_process": "another process keeps `load` (0.6) of the GPU busy",
    "out_of_memory": "tactic search runs out of memory",
    "reboot": "the board reboots `during` build or measure; with `stays_down` until it is told to come back",
    "stale_timing_cache": "the timing cache counts as one of another device",
    "sudo_password": "sudo wants a password",
    "throttling": "the GPU overheats and lowers its clock by a third in the middle of a run",
    "trtexec_missing": "no trtexec is installed",
    "truncated_json": "JSON files that trtexec exports end in the middle",
    "unknown_version": "TensorRT calls itself `version` (12.0.0)",
}
"""Every fault, with what it does and its parameters."""


class Faults:
    """The faults of one board folder. Any process may set, clear and take them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "faults.json"

    def set(self, name: str, **parameters: Any) -> None:
        """Switch a fault on. `times=N` lets it happen N times, then it is gone; `skip=N` spares the first N chances.

        Raises:
            ConfigError: no such fault.
        """
        if name not in FAULTS:
            raise ConfigError(f"emulator: fault: found '{name}'; accepted: {', '.join(FAULTS)}")
        with store.changing(self.path) as active:
            active[name] = parameters
        self._apply()

    def clear(self, name: str | None = None) -> None:
        """Switch one fault off, or all."""
        with store.changing(self.path) as active:
            for key in [name] if name else list(active):
                active.pop(key, None)
        self._apply()

    def active(self, name: str, **where: Any) -> dict[str, Any] | None:
        """The parameters of a fault that is on here, else None. A parameter in `where` must agree if it was given."""
        parameters = store.read(self.path).get(name)
        if parameters is None or any(parameters.get(key, value) != value for key, value in where.items()):
            return None
        return dict(parameters)

    def take(self, name: str, **where: Any) -> dict[str, Any] | None:
        """As `active`, and counts: the fault happens now."""
        if self.active(name, **where) is None:
            return None
        with store.changing(self.path) as active:
            parameters = active.get(name)
            if parameters is None:
                return None
            if parameters.get("skip", 0) > 0:
                parameters["skip"] -= 1
                return None
            if "times" in parameters:
                parameters["times"] -= 1
                if parameters["times"] <= 0:
                    del active[name]
        return dict(parameters)

    def _apply(self) -> None:
        """Bring the files that faults act through in line with what is on."""
        active = store.read(self.path)
        keys.show_host_key(self.folder, "other" if "host_key_changed" in active else "own")
        keys.accept_user_key(self.folder, "auth_refused" not in active)
        trtexec = self.folder / "root/usr/src/tensorrt/bin/trtexec"
        hidden = self.folder / "trtexec.hidden"
        if "trtexec_missing" in active and trtexec.exists():
            trtexec.rename(hidden)
        elif "trtexec_missing" not in active and hidden.exists():
            hidden.rename(trtexec)
