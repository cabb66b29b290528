"""The root folder of a board: its fixed files and the tools in their places."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import bevlite
from bevlite.simulation.jetson import python
from bevlite.simulation.jetson.modules import Module
from bevlite.simulation.jetson.releases import Release

TOOLS = {
    "trtexec": "usr/src/tensorrt/bin/trtexec",
    "tegrastats": "usr/bin/tegrastats",
    "nvpmodel": "usr/sbin/nvpmodel",
    "jetson_clocks": "usr/bin/jetson_clocks",
    "sudo": "usr/bin/sudo",
    "dpkg-query": "usr/bin/dpkg-query",
    "uname": "usr/bin/uname",
    "date": "usr/bin/date",
    "reboot": "usr/sbin/reboot",
    "nvidia-smi": "usr/sbin/nvidia-smi",
}
"""Every tool of the board and where NVIDIA's or Ubuntu's package puts it."""
NEEDS_SITE_PACKAGES = {"trtexec"}


def launcher(tool: str, folder: Path) -> str:
    """A script that starts one of our tools with the Python that made the board."""
    load = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bevlite.simulation.jetson.tool import main"
    code = f"{load}; sys.exit(main())"
    package = str(Path(bevlite.__file__).resolve().parent.parent)
    flags = "-E" if tool in NEEDS_SITE_PACKAGES else "-ES"
    words = [sys.executable, flags, "-c", code, package, tool, str(folder)]
    return f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _nvpmodel_conf(module: Module) -> str:
    lines = ["# Emulated: the names and numbers of NVIDIA's nvpmodel_p3701 files."]
    for mode in module.modes:
        lines.append(f"\n< POWER_MODEL ID={mode.id} NAME={mode.name} >")
        lines += [f"CPU_ONLINE CORE_{cpu} {int(cpu < mode.cpus)}" for cpu in range(module.cpus)]
        lines.append(f"TPC_POWER_GATING TPC_PG_MASK {mode.tpc_mask}")
        top = mode.gpu_mhz == module.max_gpu_mhz
        lines.append(f"GPU MAX_FREQ {-1 if top else int(mode.gpu_mhz * 1e6)}")
        lines.append(f"CPU_A78_0 MAX_FREQ {-1 if top else int(mode.cpu_mhz * 1000)}")
        lines.append(f"EMC MAX_FREQ {0 if mode.emc_mhz > 3000 else int(mode.emc_mhz * 1e6)}")
    lines.append(f"\n< PM_CONFIG DEFAULT={module.default_mode} >")
    return "\n".join(lines) + "\n"


def create(folder: Path, release: Release, module: Module, seed: int, python_api: bool, numpy: bool = False) -> None:
    """Write the root of a new board under `folder/root`, and the session script beside it.

    `python_api` and `numpy` are whether these Python packages are installed.
    """
    root = folder / "root"
    for name in ("home/nvidia", "tmp", "var/log", "proc/sys/kernel/random", "etc", "proc/device-tree"):
        (root / name).mkdir(parents=True)
    for tool, place in TOOLS.items():
        _script(root / place, launcher(tool, folder))
    _script(folder / "session", launcher("session", folder))
    python.install(folder, release, tensorrt=python_api, numpy=numpy)
    etc = root / "etc"
    marker = {"emulated": True, "tensorrt": release.version, "module": module.name, "seed": seed}
    if release.derived:
        marker["note"] = "TensorRT 11.4 is derived from the 11.1 sources and the 11.4 documentation"
    (etc / "bevlite-emulated").write_text(json.dumps(marker) + "\n", encoding="utf-8")
    (etc / "nv_tegra_release").write_text(release.release_line + "\n", encoding="utf-8")
    (etc / "nvpmodel.conf").write_text(_nvpmodel_conf(module), encoding="utf-8")
    (etc / "os-release").write_text(
        f'NAME="Ubuntu"\nVERSION_ID="{release.ubuntu}"\nPRETTY_NAME="Ubuntu {release.ubuntu} (emulated)"\n', "utf-8"
    )
    (etc / "hostname").write_text("emulated-orin\n", encoding="utf-8")
    tree = root / "proc/device-tree"
    (tree / "model").write_bytes(module.model.encode() + b"\0")
    (tree / "compatible").write_bytes(module.sku.encode() + b"\0nvidia,tegra234\0")
    (tree / "serial-number").write_bytes(f"emulated{seed:08d}".encode() + b"\0")
    version = f"Linux version {release.kernel} (emulated)\n"
    (root / "proc/version").write_text(version, encoding="utf-8")
