"""Outputs of one run of trtexec as raw files: written by itself from 8.6 on, made from its JSON before."""

from __future__ import annotations

import math
import os
import re
import struct
from typing import NamedTuple, Sequence

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.jobs.build import Builder
from bevlite.agent.trtexec import commands, documents, log

_WRITTEN = re.compile(
    r"Writing file for output binding (\S+) \(with datatype (\w+) and dimensions ([\dx., ]*)\) to (\S+)"
)
DTYPES = {
    "float": "float32", "fp32": "float32", "half": "float16", "fp16": "float16", "int32": "int32", "int64": "int64",
    "int8": "int8", "uint8": "uint8", "bool": "bool",
}  # fmt: skip
"""Words of trtexec and of TensorRT's own API, in lower case, to names of numpy."""
_CODES = {"float32": "f", "float16": "e", "int32": "i", "int64": "q", "int8": "b", "uint8": "B", "bool": "?"}


class RawTensor(NamedTuple):
    """A tensor in a file: little-endian bytes in rows, type by numpy's name."""

    path: str
    dtype: str
    shape: Sequence[int]


def run(
    builder: Builder, engine: str, inputs: dict[str, str], outputs: dict[str, str], folder: str, limit_s: float
) -> dict[str, RawTensor]:
    """Run an engine once by trtexec; `outputs` gives the types that the graph declares.

    Raises:
        Fault: the run failed, or an output is missing.
    """
    if builder.version[:2] >= (8, 6):
        done = process.run(
            commands.raw_outputs_command(builder.trtexec, builder.version, engine, inputs), limit_s, "run", None, folder
        )
        _require_passed(done)
        found = from_log(done.text, folder)
    else:
        path = os.path.join(folder, "outputs.json")
        done = process.run(
            commands.outputs_command(builder.trtexec, builder.version, engine, inputs, path), limit_s, "run"
        )
        _require_passed(done)
        found = from_json(path, outputs, folder)
    missing = sorted(name for name in outputs if name not in found or not os.path.exists(found[name].path))
    if missing:
        raise Fault("truncated_json", f"outputs: trtexec passed and did not write '{missing[0]}'", what="outputs")
    return found


def from_log(text: str, folder: str) -> dict[str, RawTensor]:
    """The files that `--dumpRawBindingsToFile` says that it wrote."""
    found = {}
    for name, kind, dims, file in _WRITTEN.findall(text):
        if kind.lower() not in DTYPES:
            raise Fault("trtexec_failed", f"output '{name}': type {kind} is not known")
        shape = [int(n) for n in re.findall(r"\d+", dims)]
        found[name] = RawTensor(os.path.join(folder, file), DTYPES[kind.lower()], shape)
    return found


def from_json(path: str, outputs: dict[str, str], folder: str) -> dict[str, RawTensor]:
    """`--exportOutput` as raw files. TensorRT 8 gives INT64 outputs as INT32."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            rows = documents.outputs(stream.read())
    except OSError:
        raise Fault("truncated_json", "outputs: trtexec passed and did not write them", what="outputs") from None
    found = {}
    for number, row in enumerate(rows):
        dtype = "int32" if outputs.get(row["name"]) == "int64" else outputs.get(row["name"], "float32")
        real = dtype.startswith("float")
        values = [math.nan if value is None else (float(value) if real else int(value)) for value in row["values"]]
        target = os.path.join(folder, f"{number}.raw")
        with open(target, "wb") as stream_out:
            stream_out.write(struct.pack("<" + str(len(values)) + _CODES[dtype], *values))
        found[row["name"]] = RawTensor(target, dtype, row["shape"])
    return found


def _require_passed(done: process.Finished) -> None:
    if not log.passed(done):
        raise log.failure(done, "run")
