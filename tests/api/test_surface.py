"""What `import bevlite` promises: nothing heavy, everything that the command line does, under the same names."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

import bevlite
from bevlite.api import FUNCTIONS
from bevlite.callable_room import CallableRoom
from bevlite.cli.main import build_app
from tests.test_architecture import ROOT
from tests.test_start import HEAVY, NETWORKS, answer

COMMANDS = {
    "init": "init",
    "load_variant": "variant show",
    "module_costs": "variant show",
    "import_checkpoint": "import",
    "train": "train",
    "evaluate": "eval",
    "show": "show",
    "show_reach": "variant reach",
    "export": "export",
    "complexity": "analyze complexity",
    "profile": "analyze profile",
    "layers": "analyze layers",
    "ranges": "analyze ranges",
    "sensitivity": "analyze sensitivity",
    "prune": "prune",
    "finetune": "finetune",
    "quantize": "quantize",
    "qat": "qat",
    "compress": "compress",
    "ledger": "ledger",
    "latency": "latency predict",
    "latency_on_dla": "latency predict",
    "calibrate_latency": "latency calibrate",
    "measure_next": "latency next",
    "list_devices": "device list",
    "add_device": "device add",
    "check_device": "device check",
    "measure": "device run",
    "check_engine": "device check-engine",
    "deploy": "deploy",
    "package": "package",
    "plan_b": "plan-b",
    "release": "release",
    "emulate": "device emulate",
    "synthesize": "data synth",
    "check_data": "data check",
    "data_statistics": "data stats",
}
WITHOUT_COMMAND = {"build", "compile_onnx"}
"""A network in torch and a graph of layers are nothing for a shell (`latency --check rtx` prints the sum of it)."""
TALK = {"say", "progress", "advance"}
"""What a function reports to its caller, and a command to the terminal."""
OTHER_NAMES = {"module_costs": {"variant": "file"}}
LEFT_OUT = {
    "train": {"more_init"},  # a mapping holds as many as one likes
    "latency": {"dla", "compare"},  # latency_on_dla; two calls
    "latency_on_dla": {"dla", "compare", "json_path", "html_path", "check"},
    "check_data": {"json_path"},  # the report has as_json()
    **{
        name: {"json_path"} for name in ("load_variant", "module_costs", "evaluate", "list_devices")
    },  # what they return
}
"""Options that are something else in Python."""


def commands(app: typer.Typer, before: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield f"{before}{name}", command.callback
    for group in app.registered_groups:
        if group.name != "search":
            assert group.typer_instance is not None
            yield from commands(group.typer_instance, f"{before}{group.name} ")


KNOWN = dict(commands(build_app()))


def test_every_command_is_a_function() -> None:
    assert set(COMMANDS.values()) == set(KNOWN)
    assert {*COMMANDS, *WITHOUT_COMMAND} == set(FUNCTIONS) == set(bevlite.__all__) <= set(dir(bevlite))


@pytest.mark.parametrize("name", COMMANDS)
def test_parameters_are_the_options_of_the_command(name: str) -> None:
    function = inspect.signature(getattr(bevlite, name)).parameters
    options = inspect.signature(KNOWN[COMMANDS[name]]).parameters
    renamed = {OTHER_NAMES.get(name, {}).get(key, key): value for key, value in function.items() if key not in TALK}
    assert set(renamed) == set(options) - LEFT_OUT.get(name, set())
    for key, parameter in renamed.items():
        wanted = getattr(options[key].default, "default", options[key].default)
        wanted = None if wanted in (..., inspect.Parameter.empty) else wanted
        found = None if parameter.default is inspect.Parameter.empty else parameter.default
        assert (found or None) == (wanted or None), key


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_and_typed(name: str) -> None:
    function = inspect.unwrap(getattr(bevlite, name))
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    text = inspect.getdoc(function) or ""
    if name != "list_devices":
        assert "Raises:" in text or name == "check_data"
        own = [key for key in signature.parameters if f"    {key}: " not in text]
        assert own == [] or "arguments as `latency`" in text


def test_functions_with_the_name_of_a_room_are_the_room() -> None:
    rooms = {path.name for path in (ROOT / "bevlite").iterdir()} | {p.stem for p in (ROOT / "bevlite").glob("*.py")}
    assert set(bevlite.ROOMS) == rooms & set(bevlite.__all__)
    for name in bevlite.ROOMS:
        room = getattr(bevlite, name)
        assert isinstance(room, CallableRoom) and room is sys.modules[f"bevlite.{name}"]
        assert callable(room) and room.__path__


def test_files_of_the_api_shadow_no_function() -> None:
    assert not {path.stem for path in (ROOT / "bevlite" / "api").glob("*.py")} & set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_asking_for_a_function_is_light(name: str) -> None:
    code = f"import json, sys, bevlite; bevlite.{name}.__doc__; print(json.dumps(sorted(sys.modules)))"
    assert not HEAVY & {module.split(".")[0] for module in answer(code)}


def test_latency_of_a_file_needs_no_torch(tmp_path: Any) -> None:
    code = (
        "import json, sys, onnx, bevlite; from tests.latency.graphs import model; from onnx import helper;"
        "onnx.save(model([helper.make_node('Relu', ['x'], ['y'])], {'x': (1, 3, 8, 8)}, ['y']), sys.argv[1]);"
        "assert bevlite.latency(sys.argv[1]).total_ms > 0;"
        "print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    )
    assert not NETWORKS & set(answer(code, str(tmp_path / "net.onnx")))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"accepted: .*load_variant"):
        _ = bevlite.expotr


@pytest.mark.slow
def test_mypy_sees_the_signatures(tmp_path: Any) -> None:
    """Editors read the same types: a wrong keyword is an error, a right call has a result of its type."""
    file = tmp_path / "use.py"
    file.write_text(
        "import bevlite\nreveal_type(bevlite.latency('a.onnx'))\nreveal_type(bevlite.export('run'))\n"
        "bevlite.deploy('run', device='desk')\n"
    )
    words = [  # with the cache that lint has left
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        file,
    ]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, cwd=ROOT, env=os.environ | {"MYPYPATH": str(ROOT)}
    )
    assert 'note: Revealed type is "bevlite.devices.report.latency.LatencyReport"' in done.stdout, done.stdout
    assert "bevlite.export.run.ExportReport]" in done.stdout
    assert 'Missing named argument "budget_ms"' in done.stdout and not done.stderr
