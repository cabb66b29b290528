"""Runs plans on a CPU: the very text of the kernels, compiled by g++ behind a header that plays CUDA.

What it shows is that the arithmetic and the order of results are right, whichever order blocks and threads come in. It
is no GPU: most races between threads do not show, and nothing is said about time.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from bevlite.agent.kernels import sources
from bevlite.agent.kernels.launching import Packed
from bevlite.agent.kernels.plan import Launch, Plan

HEADER = Path(__file__).with_name("emulation.h")
FOLDER = Path(__file__).parents[2] / ".pytest_cache" / "emulated-kernels"
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
_ENTRY = """
#define ENTRY(name, barriers) {#name, barriers, [](void** a) { unpack(name, a); }}
template <class... A> static void unpack(void (*kernel)(A...), void** a) {
    emulated::call(kernel, a, std::index_sequence_for<A...>());
}
struct Entry { const char* name; bool barriers; void (*run)(void**); };
static Entry entries[] = {ENTRIES};
extern "C" int emulate(const char* name, const unsigned* sizes, void** arguments, unsigned seed) {
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    for (Entry& entry : entries) {
        if (std::strcmp(entry.name, name)) continue;
        emulated::body = (void (*)(void*))entry.run;
        emulated::body_arguments = arguments;
        emulated::backwards = seed;
        unsigned count = sizes[0] * sizes[1] * sizes[2];
        std::vector<unsigned> order(count);
        for (unsigned b = 0; b < count; b++) order[b] = b;
        for (unsigned b = count; seed && b > 1; b--) {
            seed = seed * 1664525u + 1013904223u;
            std::swap(order[b - 1], order[(seed >> 8) % b]);
        }
        for (unsigned b : order) {
            blockIdx = {b % sizes[0], b / sizes[0] % sizes[1], b / (sizes[0] * sizes[1])};
            std::memset(emulated::shared, 0xa5, sizeof emulated::shared);
            std::memset(emulated::turn, 0, sizeof emulated::turn);
            emulated::run_block(entry.barriers);
        }
        return 0;
    }
    return 1;
}
"""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """All kernels as one library, kept in the cache of the tests as long as no text changes."""
    headers = "".join(sources.text(name) for name in sources.HEADERS)
    texts = {name: sources.text(f"{name}.cu") for name in sources.KERNELS}
    waits = ("__syncthreads", "__syncwarp", "_sync(", "exclusive_sum", "sum_of_first", "smallest_above")
    entries = []
    for text in texts.values():
        parts = re.split(r'extern "C" __global__ void (\w+)', text)
        for name, rest in zip(parts[1::2], parts[2::2], strict=True):
            barriers = any(word in rest for word in waits) or "resize<" in rest or "_block(" in rest
            entries.append(f"ENTRY({name}, {'true' if barriers else 'false'})")
    body = "".join(texts.values()) + headers
    code = hashlib.sha256((HEADER.read_text() + body + _ENTRY + ",".join(entries)).encode()).hexdigest()[:16]
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = FOLDER / f"kernels-{code}.so"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as name:
            _compile(Path(name), texts, entries, made)
    return ctypes.CDLL(str(made))


def _compile(folder: Path, texts: dict[str, str], entries: list[str], made: Path) -> None:
    for name in sources.HEADERS:
        (folder / name).write_text(sources.text(name))
    for name, text in texts.items():
        (folder / f"{name}.cu").write_text(text.replace('extern "C" __global__', "__global__"))
    included = "".join(f'#include "{name}.cu"\n' for name in texts)
    unit, part = folder / "kernels.cpp", folder / "part.so"
    unit.write_text(f'#include "{HEADER}"\n{included}{_ENTRY.replace("ENTRIES", ", ".join(entries))}')
    command = ["g++", "-std=c++14", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-shared", "-fPIC"]
    subprocess.run([*command, str(unit), "-o", str(part)], check=True, capture_output=True, text=True)
    for before in FOLDER.glob("*.so"):
        before.unlink(missing_ok=True)
    part.rename(made)


def emulate(plan: Plan, inputs: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """The outputs of a plan. Scratch memory begins as noise; With a `seed` blocks run in another order, and
    the threads of a block from the last to the first."""
    arrays = {}
    for name, buffer in plan.buffers.items():
        noise = np.random.default_rng(7).integers(0, 256, buffer.size, dtype=np.uint8)
        arrays[name] = noise
        if buffer.role == "constant":
            arrays[name] = np.frombuffer(plan.constants[name], np.uint8).copy()
        elif buffer.role == "input":
            given = np.ascontiguousarray(inputs[name], buffer.dtype)
            assert given.nbytes <= buffer.size, name
            noise[: given.nbytes] = given.reshape(-1).view(np.uint8)
        assert arrays[name].nbytes == buffer.size, name
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    for item in plan.work:
        if not isinstance(item, Launch):
            arrays[item.buffer][:] = 0
            continue
        assert item.shared <= 48 << 10 and np.prod(item.block) <= 1024
        sizes = (ctypes.c_uint * 6)(*item.grid, *item.block)
        packed = Packed(item.arguments, addresses)
        assert library().emulate(item.function.encode(), sizes, packed.pointers, seed) == 0, item.function
    return {
        name: arrays[name].view(buffer.dtype).reshape(buffer.shape)
        for name, buffer in plan.buffers.items()
        if buffer.role == "output"
    }
