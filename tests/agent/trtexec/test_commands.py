from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.trtexec.commands import (
    Build,
    Run,
    build_command,
    build_flags,
    outputs_command,
    profile_command,
    raw_outputs_command,
    run_command,
)
from bevlite.agent.trtexec.versions import TensorRT, cuda_of, from_log, jetpack_of, l4t_of

VERSIONS = {  # the version of a board, and the column of the table of public sources that holds its flags
    TensorRT(8, 5, 2): "8.5.3",
    TensorRT(8, 6, 2): "v8.6.1",
    TensorRT(10, 3, 0): "v10.3.0",
    TensorRT(10, 7, 0): "v10.7.0",
    TensorRT(10, 16, 2): "v10.16",
    TensorRT(11, 4, 1): "v11.1",
}
NO_OPERATION = {"--noDataTransfers", "--useSpinWait", "--useCudaGraph", "--separateProfileRun", "--stronglyTyped"}
"""Parsed by 11.x and without effect, with a warning."""


@lru_cache
def flags() -> dict[str, dict[str, str]]:
    """Flags by version, read in NVIDIA's sources: P parsed, H in the help (reference of this repository's rules)."""
    head, *rows = (Path(__file__).parent / "trtexec_flags.txt").read_text().splitlines()
    ends = {name: head.index(name) + len(name) for name in head.split()[1:]}
    return {row.split()[0]: {name: row[end - 3 : end].strip() for name, end in ends.items()} for row in rows}


def every_command(version: TensorRT) -> list[list[str]]:
    strong = version.major >= 10
    builds = [Build("fp16", strong, optimization_level=5), Build("fp32"), Build("int8", strong, quantized=3)]
    if version.major < 11:
        builds += [Build("fp16"), Build("int8", calibration="/c")]
    if version.has_dla:
        builds.append(Build("fp16", strong, dla_core=1))
    found = [build_command("t", version, build, "m", "e", "l", "c") for build in builds]
    for graph in (True, False):
        for transfers in (True, False):
            found.append(run_command("t", version, "e", Run(cuda_graph=graph, transfers=transfers), "t"))
    if version[:2] >= (8, 6):
        found.append(raw_outputs_command("t", version, "e", {"x": "f"}))
    return [
        *found,
        profile_command("t", version, "e", Run(inputs={"x": "f"}), "p"),
        outputs_command("t", version, "e", {}, "o"),
    ]


@pytest.mark.parametrize(("version", "column"), VERSIONS.items(), ids=lambda v: v if isinstance(v, str) else v.text)
def test_no_flag_that_the_version_does_not_have(version: TensorRT, column: str) -> None:
    table = flags()
    assert table["--fp16"]["8.5.3"] == "PH" and table["--fp16"]["v11.0"] == "" and len(table) > 150
    for command in every_command(version):
        for word in command[1:]:
            flag = word.split("=")[0]
            assert table[flag][column], f"{flag} is not known to {version.text}"
            if version.major >= 11:
                assert flag not in NO_OPERATION


def test_each_generation_is_asked_in_its_own_words() -> None:
    commands = {v.text: " ".join(build_command("t", v, Build("fp16"), "m", "e", "l", "c")) for v in list(VERSIONS)[:4]}
    assert "--buildOnly" in commands["8.5.2"] and "--skipInference" not in commands["8.5.2"]
    assert all("--skipInference" in text for version, text in commands.items() if version != "8.5.2")
    assert all("--memPoolSize=workspace:2048 " in text for text in commands.values())  # 8.x takes no unit
    strong = build_command("t", TensorRT(10, 3, 0), Build("fp16", True), "m", "e", "l", "c")
    assert "--stronglyTyped" in strong and "--fp16" not in strong


def test_transfers_and_graphs_where_the_defaults_turned_round() -> None:
    old = run_command("t", TensorRT(10, 3, 0), "e", Run(cuda_graph=True, transfers=False), "o")
    new = run_command("t", TensorRT(11, 4, 1), "e", Run(cuda_graph=True, transfers=False), "o")
    assert {"--useCudaGraph", "--noDataTransfers", "--useSpinWait"} <= set(old)
    assert not {"--includeDataTransfers", "--noCudaGraph"} & set(new)
    other = run_command("t", TensorRT(11, 4, 1), "e", Run(cuda_graph=False, transfers=True), "o")
    assert {"--includeDataTransfers", "--noCudaGraph"} <= set(other)
    for version in VERSIONS:  # outputs that stay on the device cannot be written
        words = outputs_command("t", version, "e", {}, "o")
        assert "--noDataTransfers" not in words and ("--includeDataTransfers" in words) == (version.major >= 11)


@pytest.mark.parametrize(
    ("version", "build", "code"),
    [
        (TensorRT(8, 6, 2), Build("fp16", strongly_typed=True), "bad_request"),
        (TensorRT(11, 4, 1), Build("fp16"), "bad_request"),
        (TensorRT(10, 3, 0), Build("int8"), "bad_request"),
        (TensorRT(11, 4, 1), Build("int8", True, calibration="/c"), "bad_request"),
        (TensorRT(10, 3, 0), Build("fp8"), "bad_request"),
        (TensorRT(10, 16, 2), Build("fp16", True, dla_core=0), "dla_unavailable"),
        (TensorRT(8, 5, 2), Build("int8", quantized=4, dla_core=0), "bad_request"),
        (TensorRT(8, 5, 2), Build("fp32", dla_core=0), "bad_request"),
    ],
)
def test_a_request_that_would_give_another_engine_is_refused(version: TensorRT, build: Build, code: str) -> None:
    with pytest.raises(Fault) as caught:
        build_flags(version, build)
    assert caught.value.code == code


def test_what_a_version_lacks_is_noted() -> None:
    flags, notes = build_flags(TensorRT(8, 5, 2), Build(optimization_level=3))
    assert not any("Optimization" in flag for flag in flags) and "8.5.2" in notes[0]


def test_an_input_that_trtexec_would_misread_is_refused() -> None:
    with pytest.raises(Fault, match="a:0"):
        outputs_command("t", TensorRT(8, 5, 2), "e", {"a:0": "f"}, "o")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec", TensorRT(8, 5, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8602] # trtexec", TensorRT(8, 6, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", TensorRT(10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100700] [b23] # trtexec", TensorRT(10, 7, 0, 23)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b10] # trtexec", TensorRT(10, 16, 2, 10)),
        ("nothing", None),
    ],
)
def test_the_version_in_the_first_line(line: str, expected: TensorRT | None) -> None:
    assert from_log(line) == expected


@pytest.mark.parametrize(
    ("l4t", "jetpack", "cuda"),
    [("35.4.1", "5.1.2", "11.4"), ("36.3.0", "6.0", "12.2"), ("36.4.0", "6.1", "12.6"), ("36.4.3", "6.2", "12.6"),
     ("36.5.0", "6.2.2", "12.6"), ("39.2.0", "7.2", "13.2"), ("99.1", None, None)],
)  # fmt: skip
def test_jetpack_by_l4t(l4t: str, jetpack: str | None, cuda: str | None) -> None:
    assert jetpack_of(l4t) == jetpack and cuda_of(l4t) == cuda


def test_l4t_of_the_release_file() -> None:
    text = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan 8"
    assert l4t_of(text) == "36.4.3" and l4t_of("") is None


def test_dla_came_and_went() -> None:
    has = {v.text: v.has_dla for v in VERSIONS}
    assert has == {"8.5.2": True, "8.6.2": True, "10.3.0": True, "10.7.0": True, "10.16.2": False, "11.4.1": True}
