"""The Python of a board: a virtual environment in its root, into which the emulated TensorRT is installed."""

from __future__ import annotations

import importlib.util
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


def install(folder: Path, release: Release, *, tensorrt: bool, numpy: bool = False) -> None:
    """Write `root/usr/bin/python3` with the standard library, and `tensorrt` and numpy where they are wanted."""
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
    if numpy:
        _link_numpy(packages)
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


def _link_numpy(packages: Path) -> None:
    """The numpy of the Python that made the board, alone (on a Jetson the package `python3-numpy`)."""
    spec = importlib.util.find_spec("numpy")
    assert spec is not None and spec.origin is not None
    here = Path(spec.origin).resolve().parent
    for found in (here, here.with_name("numpy.libs")):
        if found.is_dir():
            (packages / found.name).symlink_to(found)
