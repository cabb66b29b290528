"""Whether NVIDIA's compiler is there, found without loading it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys

from bevlite.errors import BevliteError

PACKAGE = "tensorrt_rtx"
EXTRA = "pip install 'bevlite[rtx]'"
OLDEST = (1, 7)
"""Earlier ones refuse every convolution in INT8 (1.4 to 1.6 were tried), which no other TensorRT does."""
_DISTRIBUTIONS = ("tensorrt_rtx", "tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx_cu13_bindings",
                  "tensorrt_rtx_cu12_bindings")  # fmt: skip


def why_missing() -> str | None:
    """Why NVIDIA's compiler cannot be asked here, in one line with what would do; None where it can."""
    try:
        found = importlib.util.find_spec(PACKAGE)
    except (ImportError, ValueError):
        found = None
    if found is None:
        here = f"{sys.platform} on {platform.machine()}"
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            return f"NVIDIA's compiler (tensorrt-rtx) has no package for {here}; accepted: linux on x86_64"
        return f"NVIDIA's compiler (tensorrt-rtx) is not installed; accepted: {EXTRA}"
    version = installed_version()
    if version is not None and _numbers(version) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return f"tensorrt-rtx: found {version}, which refuses INT8; accepted: {wanted} or later ({EXTRA})"
    return None


def is_installed() -> bool:
    """Whether NVIDIA's compiler can be asked."""
    return why_missing() is None


def installed_version() -> str | None:
    """The version of the package; None where its metadata do not say."""
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def require() -> None:
    """Refuse work that needs it (raises BevliteError)."""
    missing = why_missing()
    if missing is not None:
        raise BevliteError(missing)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else OLDEST
