"""What the parser, the builder, or the end of their process says against a file, in one line each."""

from __future__ import annotations

import re
import signal

import onnx

from bevlite.rtx.graph import CompilerError, Stage
from bevlite.rtx.process import Ended, Limits, Messages

_PLUGIN_SOUGHT = re.compile(r"plugin .*not found|Unsupported reduction type", re.IGNORECASE | re.DOTALL)
_BY_PLUGIN = frozenset(
    {"DeformConv", "NonZero", "RoiAlign", "ScatterElements", "NonMaxSuppression", "InstanceNormalization"}
)
"""Operators of ONNX that TensorRT runs through its plugin library."""
_NO_WORD = "runs through a plugin, and this compiler comes without any: it has no word on it"
_LONGEST_TEXT = 8192
_NO_SIZES = "no optimization profile has been defined"
_LONGEST_REASON = 400


def unfinished(ended: Ended, messages: Messages, name: str, limits: Limits) -> CompilerError:
    """Why there is no result, and at which node it was."""
    if ended.limit == "time":
        what = f"NVIDIA's compiler had not ended after {limits.seconds:g} s"
    elif ended.limit == "memory":
        what = f"NVIDIA's compiler took more than {limits.memory_mib} MiB of memory"
    elif ended.code == -signal.SIGKILL:
        what = "NVIDIA's compiler was killed (SIGKILL; memory may have run out)"
    elif ended.code < 0:
        known = {number.value: number.name for number in signal.Signals}
        what = f"NVIDIA's compiler crashed ({known.get(-ended.code, -ended.code)})"
    else:
        last = ended.stderr.strip().splitlines()
        what = f"NVIDIA's compiler could not run ({last[-1] if last else f'exit status {ended.code}'})"
    parsing, node, op = _last_node(messages)
    return CompilerError(stage=parsing, code="UNFINISHED", node=node, op=op, reason=f"{what} on {name}")


def _last_node(messages: Messages) -> tuple[Stage, str, str]:
    """The stage that the last words speak of, and the node: `Parsing node: conv [Conv]`."""
    for _, text in reversed(messages):
        for head in ("Parsing node: ", "Static check for parsing node: "):
            if text.startswith(head):
                node, _, op = text.removeprefix(head).rpartition(" [")
                return "parse", node, op.rstrip("]")
        if text.startswith(("Original: ", "Graph construction", "Marking ")):
            break
    return "build", "", ""


def parser_error(entry: dict[str, str]) -> CompilerError:
    """One error of the parser, as the worker wrote it down; of a plugin, that there is no word on it."""
    op, code, reason = entry["op"], entry["code"], tidy(entry["reason"])
    if _PLUGIN_SOUGHT.search(entry["reason"][:_LONGEST_TEXT]):
        if onnx.defs.has(op) and op not in _BY_PLUGIN:
            reason = f"{op} has no importer"
        else:
            code, reason = "PLUGIN", _NO_WORD
    elif reason == "false":
        reason = f"{op} is not supported"
    return CompilerError(stage="parse", code=code, node=entry["node"], op=op, reason=reason)


def builder_errors(messages: Messages) -> list[CompilerError]:
    """What was said as an error, without the absence of a GPU, which is said of everything."""
    said = [text for severity, text in messages if severity in ("ERROR", "INTERNAL_ERROR")]
    said = [text for text in said if "Cuda Runtime" not in text] or said or ["no engine, and no reason given"]
    if any(_NO_SIZES in text for text in said):
        return [CompilerError(stage="build", code="NO_SIZES", reason="a size that is not given: no word on it")]
    return [CompilerError(stage="build", reason=reason) for reason in dict.fromkeys(map(tidy, said))]


def tidy(text: str) -> str:
    """What was said, in one line of bounded length: without the source of the condition, places in files, and CUDA.

    `isTraining && "not in training"` is `not in training`.
    """
    text = text[:_LONGEST_TEXT]
    lines = [line for line in text.splitlines() if "Cuda Runtime" not in line] or text.splitlines()
    joined = " ".join(" ".join(lines).split())
    joined = re.sub(r"\(In (\w|::)+ at /[^)]*\)|\.? In (\w|::)+ at /[^ )]*(?=\))", "", joined)
    joined = re.sub(r"(\w|::)+: Error Code \d+: ", "", joined).removeprefix("Assertion failed: ")
    quoted = re.search(r'&& "(.*)"', joined)
    joined = quoted[1] if quoted is not None else joined
    return joined if len(joined) <= _LONGEST_REASON else joined[: _LONGEST_REASON - 3] + "..."
