"""The process that NVIDIA's native code runs in: parse and compile one file, write down what was said.

Run as a program, `worker.py FILE CAPABILITY FOLDER`; it imports nothing of BEVLite and starts quickly. Every message
of the library is written to `FOLDER/log.jsonl` before the next step, so that a crash leaves its last words;
`FOLDER/result.json` stands only if all of it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_STACK_BYTES = 1 << 30
_STARTED = "BEVLITE_RTX_STARTED"
_MOST_LOG_BYTES = 1 << 28
"""Of messages that are no list of layers and no error: a log without end must not fill a disk."""


def main(file: str, capability: str, folder: str) -> None:
    """Parse and compile `file` for compute capability `capability` (`8.6`) into what `folder` then holds."""
    _with_deep_stack()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or os.curdir) != here]
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody waits for it any more
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # if memory ends, this process is the one to go
    import tensorrt_rtx as trt

    with open(os.path.join(folder, "log.jsonl"), "w", encoding="utf-8") as log:
        result = _build(trt, file, capability, _logger(trt, log))
    result["version"] = trt.__version__
    written = os.path.join(folder, "result.part")
    with open(written, "w", encoding="utf-8") as out:
        json.dump(result, out)
    os.replace(written, os.path.join(folder, "result.json"))


def _with_deep_stack() -> None:
    """Start anew with a deep stack: the compiler recurses along a graph, and thousands of nodes overflow 8 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    if _STARTED in os.environ or (soft != resource.RLIM_INFINITY and soft >= wanted) or soft == resource.RLIM_INFINITY:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, _STARTED: "1"})


def _logger(trt: Any, log: Any) -> Any:
    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.written = 0

        def log(self, severity: Any, message: str) -> None:
            self.written += len(message)
            if self.written > _MOST_LOG_BYTES and severity.name in ("VERBOSE", "INFO") and message[:7] != "Layers:":
                return
            log.write(json.dumps([severity.name, message]) + "\n")
            log.flush()

    return Logger()


def _build(trt: Any, file: str, capability: str, logger: Any) -> dict[str, Any]:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(file)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    result: dict[str, Any] = {
        "parsed": bool(parsed),
        "errors": [
            {"code": e.code().name, "node": e.node_name(), "op": e.node_operator(), "reason": e.desc()} for e in errors
        ],
        "outputs": network.num_outputs,
        "built": False,
    }
    if parsed and network.num_outputs:
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.__members__["SM" + capability.replace(".", "")], 0)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        result["built"] = builder.build_serialized_network(network, config) is not None
    return result


if __name__ == "__main__":
    main(*sys.argv[1:4])
