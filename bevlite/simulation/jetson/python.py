"""The Python of a board: a virtual environment in its root, into which the emulated TensorRT is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bevlite
from bevlite.simulation.jetson import disk
from bevlite.simulation.jetson.releases import Release

_BINDING = '''"""EMULATED: TensorRT's Python API of an emulated board. No engine runs on a GPU."""

import sys
from pathlib import Path

# The libraries of the Python that made the board. A program of the board may bring a `bevlite` of its own.
sys.path += {paths!r}
import bevlite

bevlite.__path__.append({package!r})
from bevlite.simulation.jetson.runtime.start import start

globals().update(start(Path({folder!r})))
'''


def install(folder: Path, release: Release, *, tensorrt: bool) -> None:
    """Write `root/usr/bin/python3` with nothing but the standard library, and `tensorrt` where it is wanted."""
    usr = folder / "root/usr"
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = usr / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (usr / "bin").mkdir(exist_ok=True)
    (usr / "bin/python3").symlink_to(base)
    settings = {"home": base.parent, "include-system-site-packages": "false", "version": sys.version.split()[0]}
    (usr / "pyvenv.cfg").write_text("".join(f"{key} = {value}\n" for key, value in settings.items()), "utf-8")
    disk.install(folder, packages)
    if not tensorrt:
        return
    package = Path(bevlite.__file__).resolve().parent
    paths = [path for path in sys.path if path.endswith("site-packages") and os.path.isdir(path)]
    text = _BINDING.format(paths=[*paths, str(package.parent)], package=str(package), folder=str(folder))
    (packages / "tensorrt.py").write_text(text, encoding="utf-8")
    number = ".".join(map(str, release.plan_version))
    (packages / f"tensorrt-{number}.dist-info").mkdir()
    (packages / f"tensorrt-{number}.dist-info/METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {number}\nSummary: emulated\n", encoding="utf-8"
    )
