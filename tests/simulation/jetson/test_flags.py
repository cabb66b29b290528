"""Which flags each release takes: against the statements of NVIDIA's release and migration notes."""

from __future__ import annotations

import pytest

from bevlite.simulation.jetson.releases import RELEASES
from bevlite.simulation.jetson.trtexec.flags import FlagError, help_text, parse
from tests.simulation.jetson.conftest import Bench, each_version

# flag -> releases that take it, in the order 8.5.2, 8.6.2, 10.3.0, 10.16.2, 11.4.1
TAKEN = {
    "--fp16": "yyyy.",
    "--int8": "yyyy.",
    "--calib": "yyyy.",
    "--precisionConstraints": "yyyy.",
    "--fp8": ".yyy.",
    "--stronglyTyped": "..yyy",
    "--workspace": "yy...",
    "--buildOnly": "yy...",
    "--skipInference": ".yyyy",
    "--builderOptimizationLevel": ".yyyy",
    "--dumpRawBindingsToFile": ".yyyy",
    "--getPlanVersionOnly": "..yyy",
    "--includeDataTransfers": "....y",
    "--noCudaGraph": "....y",
    "--useCudaGraph": "yyyyy",
    "--exportTimes": "yyyyy",
    "--reportCapabilityDLA": "...yy",
    "--xyz": ".....",
}


@pytest.mark.parametrize("flag", TAKEN)
@pytest.mark.parametrize("position", range(5))
def test_a_flag_is_taken_by_the_releases_that_have_it(flag: str, position: int) -> None:
    release = list(RELEASES.values())[position]
    if TAKEN[flag][position] == "y":
        assert flag in parse([f"{flag}=1"], release)
    else:
        with pytest.raises(FlagError, match=f"Unknown option: {flag} 1"):
            parse([f"{flag}=1"], release)


def test_a_flag_that_is_parsed_but_not_shown() -> None:
    assert "--buildOnly" not in help_text(RELEASES["8.6.2"]) and "--buildOnly" in help_text(RELEASES["8.5.2"])


@each_version
def test_an_unknown_flag_gives_help_error_and_failure(bench: Bench) -> None:
    answer = bench.run("--onnx=net.onnx", "--xyz")
    assert answer.code == 1
    assert "--saveEngine" in answer.out, "the help goes to stdout"
    assert answer.err.rstrip("\n").endswith("[E] Unknown option: --xyz ")
    assert answer.lines[-1].startswith("&&&& FAILED TensorRT.trtexec")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--onnx=net.onnx", "--iterations=many"], "stoi"),
        (["--onnx=net.onnx", "--percentile=most"], "stof"),
        (["--onnx=net.onnx", "--memPoolSize=workspace:big"], "stof"),
        (["--fp16"], "Model missing or format not recognized"),
        (["--onnx=net.onnx", "--best", "--stronglyTyped"], "cannot be set together"),
        (["--onnx=net.onnx", "--duration=-1"], "endless"),
    ],
)
def test_wrong_values_fail(bench: Bench, words: list[str], said: str) -> None:
    answer = bench.run(*words)
    assert answer.code == 1 and said in answer.err and "&&&& FAILED" in answer.lines[-1]
