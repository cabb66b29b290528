"""CUDA C to machine code on the board, by NVRTC: part of CUDA, no compiler of the host is needed."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import glob
import hashlib
import os
import sys
from typing import Any

from bevlite.agent.kernels import sources
from bevlite.agent.python_api.cuda import RunnerError
from bevlite.agent.system import paths

OPTIONS = ("--std=c++14", "--fmad=false", "-default-device")
"""Products and sums are rounded one by one, as numpy rounds them: what is floored or compared must not differ."""
_NAMES = ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")
_PLACES = ("/usr/local/cuda/lib64/libnvrtc.so", "/usr/local/cuda*/targets/*/lib/libnvrtc.so*")


def library() -> Any:
    """NVRTC of this machine: the system's, else one that pip installed (raises RunnerError where there is none)."""
    found = ctypes.util.find_library("nvrtc")
    for name in [*([found] if found else []), *_NAMES, *paths.find(*_PLACES)]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    for folder in sys.path:
        for path in sorted(glob.glob(os.path.join(folder, "nvidia", "*", "lib", "libnvrtc.so.*"))):
            try:  # the loader does not look for its second half there
                for half in glob.glob(os.path.join(os.path.dirname(path), "libnvrtc-builtins.so.*")):
                    ctypes.CDLL(half, mode=ctypes.RTLD_GLOBAL)
                return ctypes.CDLL(path)
            except OSError:
                continue
    raise RunnerError(f"NVRTC: none of {', '.join(_NAMES)} can be loaded (sudo apt install nvidia-cuda)")


def compiled(nvrtc: Any, name: str, architecture: int) -> bytes:
    """A kernel file as machine code.

    Args:
        nvrtc: the library.
        name: of the file, without `.cu`.
        architecture: compute capability times ten: 87 for an Orin.

    Raises:
        RunnerError: NVRTC does not take it; the message holds its first complaint.
    """
    texts = [sources.text(header).encode() for header in sources.HEADERS]
    names = [header.encode() for header in sources.HEADERS]
    count = len(names)
    program = ctypes.c_void_p()
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), sources.text(name + ".cu").encode(), (name + ".cu").encode(), ctypes.c_int(count),
        (ctypes.c_char_p * count)(*texts), (ctypes.c_char_p * count)(*names),
    )  # fmt: skip
    if made != 0:
        raise RunnerError(f"NVRTC: {name}.cu: nvrtcCreateProgram gave {made}")
    try:
        options = [f"--gpu-architecture=sm_{architecture}".encode(), *(option.encode() for option in OPTIONS)]
        code = nvrtc.nvrtcCompileProgram(
            program, ctypes.c_int(len(options)), (ctypes.c_char_p * len(options))(*options)
        )
        if code != 0:
            raise RunnerError(f"NVRTC: {name}.cu for sm_{architecture}: {_complaint(nvrtc, program) or f'gave {code}'}")
        return _content(nvrtc, program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def kept(nvrtc: Any, name: str, architecture: int, folder: str) -> bytes:
    """As `compiled`, from a folder where the same text was compiled before with the same compiler; else kept there.

    What cannot be read or written costs a compilation, no more.
    """
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    made_of = [sources.text(header) for header in sources.HEADERS]
    made_of += [sources.text(name + ".cu"), *OPTIONS, f"{architecture} {major.value}.{minor.value}"]
    path = os.path.join(folder, f"{name}-{hashlib.sha256(chr(0).join(made_of).encode()).hexdigest()[:32]}.cubin")
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if content[32:] and hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
    except OSError:
        pass
    code = compiled(nvrtc, name, architecture)
    part = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, exist_ok=True)
        with open(part, "wb") as stream:
            stream.write(hashlib.sha256(code).digest() + code)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
    return code


def _complaint(nvrtc: Any, program: Any) -> str:
    """The first line of the log that names an error."""
    log = _content(nvrtc, program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode("utf-8", "replace")
    lines = [line.strip(" \0") for line in log.splitlines() if line.strip(" \0")]
    return next((line for line in lines if "error" in line), lines[0] if lines else "")


def _content(nvrtc: Any, program: Any, size_call: str, call: str) -> bytes:
    size = ctypes.c_size_t()
    code = getattr(nvrtc, size_call)(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(max(1, size.value))
    if code != 0 or getattr(nvrtc, call)(program, buffer) != 0:
        raise RunnerError(f"NVRTC: {call} failed")
    return buffer.raw[: size.value]
