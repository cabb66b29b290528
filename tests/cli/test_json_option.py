"""`--json` of the commands: a file beside what is printed, or `-` for stdout alone; what it holds is typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bevlite.analysis.cost import VariantReport, module_costs
from bevlite.cli.main import build_app, main
from bevlite.config import to_yaml
from bevlite.devices.listing import DeviceList
from bevlite.evaluation.report import EvaluationReport
from bevlite.variant import load_variant
from tests.tiny import tiny


@pytest.fixture
def bevlite(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bevlite", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


def test_a_variant(bevlite, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file, target = tmp_path / "tiny.yaml", tmp_path / "new" / "shown.json"
    file.write_text(to_yaml(tiny()))
    code, printed, _ = bevlite("variant", "show", file, "--json", target)
    assert code == 0 and "parameters [M]" in printed
    found = VariantReport.model_validate_json(target.read_text())
    variant, costs = load_variant(file), module_costs(tiny())
    assert (found.hash, found.network_hash) == (variant.hash, variant.network_hash)
    assert found.parameters == sum(cost.parameters for cost in costs) > 0
    assert [module.macs_per_frame for module in found.modules] == [cost.macs for cost in costs]
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(found.variant))
    assert load_variant(again).hash == variant.hash
    code, out, err = bevlite("variant", "show", file, "--json", "-")
    assert code == 0 and out == target.read_text() and "parameters [M]" in err  # the JSON alone


def test_the_devices(bevlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path))
    assert bevlite("device", "add", "car", "--ssh", "car-orin")[0] == 0
    code, out, err = bevlite("device", "list", "--json", "-")
    found = DeviceList.model_validate_json(out)
    of = {device.name: device for device in found.devices}
    assert code == 0 and found.folder == str(tmp_path) and "car " in err
    assert (of["car"].type, of["car"].file) == ("orin", str(tmp_path / "car.yaml"))
    assert (of["cuda"].type, of["cuda"].file) == ("cuda", None) and of["agx-orin-64gb"].type == "predicted"
    assert [d.name for d in found.devices] == [line.split()[0] for line in err.splitlines()[:-1]]


def test_an_evaluation() -> None:
    """Units are in the names; scores and shares have none, nor has what a task of others calls its own."""
    summary: dict[str, Any] = {
        "split": "mini_val", "samples": 3, "backend": "tensorrt", "root": "/data", "stage": "qat", "without": "lidar",
        "device": "car", "emulated": True, "sku": "x", "modules": {"camera": "abc"}, "runner": "python",
        "NDS": 0.5, "mAP": 0.25, "mATE": 0.3, "mASE": 0.2, "mAOE": 0.1, "mAVE": 1.5, "mAAE": 0.4, "occ_miou": 0,
        "per_class": {"car": {"AP": 0.7, "ATE": 0.2, "AOE": None}}, "occ_per_class": {"car": 0.1, "bus": None},
        "scenes": 2, "intervals": {"NDS": [0.4, 0.6], "mAVE": [1, 2]}, "mine": 7.0,
    }  # fmt: skip
    found = EvaluationReport.of(Path("runs/a"), Path("runs/a/eval/b"), summary)
    errors = {"mATE_m": 0.3, "mASE": 0.2, "mAOE_rad": 0.1, "mAVE_m_s": 1.5, "mAAE": 0.4}
    assert found.figures == {"NDS": 0.5, "mAP": 0.25, **errors, "occ_miou": 0.0, "mine": 7.0}
    assert found.by_class["per_class"] == {"car": {"AP": 0.7, "ATE_m": 0.2, "AOE_rad": None}}
    assert found.by_class["occ_per_class"] == {"car": 0.1, "bus": None}
    assert found.intervals_95 == {"NDS": (0.4, 0.6), "mAVE_m_s": (1.0, 2.0)}
    assert (found.stage, found.without, found.device, found.emulated) == ("qat", "lidar", "car", True)
    assert found.board == {"sku": "x", "modules": {"camera": "abc"}, "runner": "python"} and found.scenes == 2
    assert EvaluationReport.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("where", ["{f}", "{f}/file/x.json", "/proc/none/x.json"])
def test_no_file_can_be_written_there(bevlite, tmp_path: Path, where: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").touch()
    code, _, err = bevlite("device", "list", "--json", where.format(f=tmp_path))
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in err, err


def test_a_failure_prints_no_json(bevlite) -> None:  # type: ignore[no-untyped-def]
    code, out, err = bevlite("variant", "show", "absent.yaml", "--json", "-")
    assert code == 2 and out == "" and "no such file" in err


def test_every_command_has_it_alike() -> None:
    """One option, whose value is a file, and which says that `-` is stdout."""
    found: dict[str, Any] = {}

    def look(command: Any, path: tuple[str, ...]) -> None:
        for name, below in getattr(command, "commands", {}).items():
            look(below, (*path, name))
        for parameter in command.params:
            if "--json" in parameter.opts:
                found[" ".join(path)] = parameter

    import typer

    look(typer.main.get_command(build_app()), ())
    wanted = {"eval", "search status", "variant show", "device list", "latency predict", "data check"}
    assert wanted <= set(found) and len(found) >= 11
    assert {name: p.metavar for name, p in found.items() if p.metavar != "FILE" or "stdout" not in p.help} == {}
