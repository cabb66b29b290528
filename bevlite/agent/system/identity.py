"""What a board is: module, L4T, JetPack, CUDA, TensorRT, DLA cores; or a PC with an NVIDIA GPU."""

from __future__ import annotations

import json
import os
import platform
import re
from typing import Any

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.system import paths
from bevlite.agent.trtexec import versions

TRTEXEC_FOLDERS = ("/usr/src/tensorrt/bin", "/opt/tensorrt/bin")
QUERY_LIMIT_S = 20.0
_SKUS = {
    "p3701-0000": "agx-orin-devkit",
    "p3701-0004": "agx-orin-32gb",
    "p3701-0005": "agx-orin-64gb",
    "p3701-0008": "agx-orin-industrial",
    "p3767-0000": "orin-nx-16gb",
    "p3767-0001": "orin-nx-8gb",
    "p3767-0003": "orin-nano-8gb",
    "p3767-0004": "orin-nano-4gb",
    "p3767-0005": "orin-nano-8gb-devkit",
}
_DLA_CORES = {"agx-orin": 2, "orin-nx-16gb": 2, "orin-nx-8gb": 1}


def boot_id() -> str:
    """Changes with every boot."""
    return paths.read(paths.at("/proc/sys/kernel/random/boot_id")) or ""


def identify(tensorrt_root: str | None) -> dict[str, Any]:
    """Everything that a figure depends on and that stays as long as the board runs.

    Raises:
        Fault: `trtexec_missing`, or `unknown_version` for one whose flags and output are not known.
    """
    board = _jetson() if paths.read(paths.at("/etc/nv_tegra_release")) else _pc()
    trtexec = find_trtexec(tensorrt_root)
    version = trtexec_version(trtexec)
    cores = next((n for name, n in _DLA_CORES.items() if str(board["sku"]).startswith(name)), 0)
    has_dla = version.has_dla and (version.major < 11 or str(board["sku"]).startswith("agx-orin"))
    board.update(
        trtexec=trtexec,
        tensorrt=version.text,
        tensorrt_build=version.build,
        dla_cores=cores if has_dla else 0,
        boot_id=boot_id(),
        host=platform.node(),
        python=platform.python_version(),
        emulated=paths.emulated(),
    )
    return board


def find_trtexec(root: str | None) -> str:
    """Path of trtexec (raises Fault `trtexec_missing`)."""
    folders = [root, os.path.join(root, "bin")] if root else []
    found = paths.program("trtexec", *folders, *TRTEXEC_FOLDERS)
    if found is None:
        where = ", ".join([*folders, *TRTEXEC_FOLDERS])
        message = f"trtexec is not on the board (looked in {where} and on PATH)"
        raise Fault("trtexec_missing", message, fix="sudo apt install libnvinfer-bin")
    return found


def trtexec_version(trtexec: str) -> versions.TensorRT:
    """What trtexec says that it is (raises Fault `unknown_version`)."""
    done = process.run([trtexec, "--help"], QUERY_LIMIT_S, "identify")
    version = versions.from_log(done.text)
    if version is None:
        first = done.text.strip().splitlines()[:1]
        message = "trtexec does not say its version; it prints: {}".format(first[0] if first else "nothing")
        raise Fault("unknown_version", message)
    if not version.known:
        message = "TensorRT {} is not known; accepted: 8.5 to {}.{}"
        raise Fault("unknown_version", message.format(version.text, *versions.KNOWN[-1]), version=version.text)
    return version


def _jetson() -> dict[str, Any]:
    release = paths.read(paths.at("/etc/nv_tegra_release")) or ""
    l4t = versions.l4t_of(release)
    model = paths.read(paths.at("/proc/device-tree/model"))
    return {
        "jetson": True,
        "model": model or "unknown Jetson",
        "sku": _sku(),
        "l4t": l4t,
        "jetpack": versions.jetpack_of(l4t) if l4t else None,
        "cuda": _cuda() or (versions.cuda_of(l4t) if l4t else None),
        "driver": None,
        "cpu": platform.machine(),
    }


def _sku() -> str:
    """Module name by the part number in the device tree (`nvidia,p3737-0000+p3701-0005`)."""
    text = _raw(paths.at("/proc/device-tree/compatible"))
    for part in re.findall(r"p3\d{3}-\d{4}", text):
        if part in _SKUS:
            return _SKUS[part]
    numbers = re.findall(r"p3\d{3}-\d{4}", text)
    return numbers[-1] if numbers else "unknown"


def _raw(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(4096).decode("ascii", "replace").replace("\0", "\n")
    except OSError:
        return ""


def _cuda() -> str | None:
    """Of the toolkit's version file; the runtime libraries carry it in their names where there is no toolkit."""
    text = paths.read(paths.at("/usr/local/cuda/version.json"))
    if text:
        try:
            return str(json.loads(text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            pass
    found = paths.find("/usr/local/cuda*/targets/*/lib/libcudart.so.*.*", "/usr/local/cuda-*")
    numbers = [m.group(1) for path in found for m in [re.search(r"(?:cudart\.so\.|cuda-)(\d+\.[\d.]*\d)", path)] if m]
    return max(numbers, key=len) if numbers else None


def _pc() -> dict[str, Any]:
    rows = nvidia_smi("name,driver_version")
    name, driver = (rows[0] + ["", ""])[:2] if rows else ("", "")
    if not name:
        raise Fault("no_gpu", "neither a Jetson nor a PC with an NVIDIA driver (nvidia-smi does not answer)")
    sku = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return {
        "jetson": False,
        "model": name,
        "sku": sku,
        "l4t": None,
        "jetpack": None,
        "cuda": _cuda(),
        "driver": driver,
        "cpu": platform.machine(),
    }


def nvidia_smi(query: str, kind: str = "gpu") -> list[list[str]]:
    """Rows of `nvidia-smi --query-<kind>`; none where there is no working nvidia-smi (Jetsons up to JetPack 6)."""
    program = paths.program("nvidia-smi")
    if program is None:
        return []
    try:
        command = [program, f"--query-{kind}={query}", "--format=csv,noheader,nounits"]
        done = process.run(command, QUERY_LIMIT_S, "identify")
    except Fault:
        return []
    if done.code != 0:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.text.splitlines() if line.strip()]
