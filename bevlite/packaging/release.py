"""One command from a trained run to a package: compress where needed, export, build, verify, measure, pack.

Each step that is done stands in `release.json` of the run; the same call after a kill goes on with the first that is
not. Compression, deploy and scoring keep what they had of their own besides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bevlite.compression.compress import Goal, compress_run
from bevlite.compression.costs import Predictions
from bevlite.compression.ledger import Allowed
from bevlite.compression.plan_b.plan import PlanB, plan_b_of
from bevlite.compression.scored import weights_digest
from bevlite.config import write_atomic
from bevlite.deploy.deploy import SAME_AS, deploy
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Device
from bevlite.devices.inference import Chain
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.deploy import Budgets
from bevlite.errors import BevliteError
from bevlite.evaluation.run import evaluate_run
from bevlite.export.of_run import request_of_run
from bevlite.export.request import Request
from bevlite.export.run import export_run
from bevlite.latency.device import find_device
from bevlite.packaging.package import package_run
from bevlite.run_folder import FLOAT, Run
from bevlite.tasks.contract import TASKS
from bevlite.tensorrt import version_key, without_patch

STATE, PLAN_FOLDER = "release.json", "plan_b"
Say = Callable[[str], None]
Verdict = Literal["pass", "fail", "emulated", "predicted"]
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "emulated": 3, "predicted": 3}
"""Of the command: what is emulated or predicted proves nothing of a board."""


@dataclass(frozen=True)
class Limits:
    """What a release has to meet: latency in ms, the most accuracy that may be lost in all (relative, a share), and
    optionally power (W), memory (MB) and frames a second."""

    latency_ms: float
    drop: float = 0.03
    fps: float | None = None
    power_w: float | None = None
    memory_mb: float | None = None

    def known(self) -> dict[str, float]:
        """Those that a package holds a board to."""
        values = {name: getattr(self, name) for name in ("latency_ms", "fps", "power_w", "memory_mb")}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Released:
    """What came of it. stopped: why there is no package, or which limits are missed; plan: what to do then."""

    verdict: Verdict
    package: Path | None
    steps: tuple[str, ...]
    stopped: str = ""
    plan: PlanB | None = None


def release_run(
    path: Path,
    device: Device,
    limits: Limits,
    out: Path,
    *,
    goal: Mapping[str, Any] | None = None,
    devices: int = 1,
    key: Path | None = None,
    say: Say = lambda text: None,
) -> Released:
    """From a trained run to a package on a device; goes on where it was stopped.

    Args:
        path: the run folder, with trained weights.
        device: a board, or a predicted board, of which nothing is measured.
        limits: what is to be met.
        out: where the package goes.
        goal: other settings of `bevlite compress` (`Goal`), such as `guide`.
        devices: GPUs (or CPU processes) of what is trained on.
        key: an ssh key to sign the package with.
        say: told of each step.

    Raises:
        BevliteError: not a run, no weights, another release that was begun, and what any of the steps raises.
    """
    return _Release(path, device, limits, out, goal or {}, devices, key, say).run()


@dataclass
class _Release:
    path: Path
    device: Device
    limits: Limits
    out: Path
    goal: Mapping[str, Any]
    devices: int
    key: Path | None
    say: Say
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_ = Run(self.path)
        self.run_.variant()  # whether it is a run at all
        self.run_.chosen(FLOAT)
        if not isinstance(self.device, (BoardDevice, PredictedDevice)):
            raise BevliteError(f"--device: found '{self.device.name}'; accepted: one board, or a predicted board")
        self.board = self._predicted_board()
        self.file = self.path / STATE
        self.state = self._read()

    def run(self) -> Released:
        """All steps in their order."""
        stopped = self._compress()
        if stopped:
            return self._missed("fail", None, stopped)
        found = self._export()
        verdict, why = self._deploy(found)
        self._pack(found)
        if why:
            return self._missed(verdict, self.out, why)
        return Released(verdict, self.out, tuple(self.steps), why)

    def _predicted_board(self) -> PredictedDevice:
        """Whose predicted latency decides whether anything has to be compressed."""
        if isinstance(self.device, PredictedDevice):
            return self.device
        assert isinstance(self.device, BoardDevice)
        health = self.device.check()
        sku, tensorrt = str(health.identity.get("sku")), health.identity.get("tensorrt")
        if tensorrt is None:
            raise BevliteError(health.problems[0].message if health.problems else f"{self.device.name}: no TensorRT")
        config = find_device(SAME_AS.get(sku, sku))
        mode = self.device.power_mode or health.conditions.get("power_mode")
        known = str(mode) if mode in config.power_modes.modes else None
        return PredictedDevice(config, tensorrt=without_patch(str(tensorrt)), power_mode=known)

    def _compress(self) -> str:
        """Compress where the network as it is is predicted to be too slow; why it stopped, or nothing."""
        facts = self.state["done"].get("compress")
        if facts is not None:
            self._note(f"compress: kept ({facts['why']})")
            return ""
        ms = Predictions(self.board).report(self.run_.variant()).total_ms
        begun = (self.path / "compress.json").is_file()
        if ms <= self.limits.latency_ms and not begun:
            self._done("compress", {"why": f"not needed: {ms:.2f} ms predicted"})
            return ""
        self.say(f"{ms:.2f} ms predicted, {self.limits.latency_ms:g} ms to be met: compressing")
        goal = Goal(self.limits.latency_ms, Allowed(total=self.limits.drop), **self.goal)
        made = compress_run(self.path, goal, self.board, devices=self.devices, say=self.say)
        if made.stopped:
            return made.stopped
        after = Predictions(self.board).report(self.run_.variant()).total_ms
        self._done("compress", {"why": f"{ms:.2f} ms to {after:.2f} ms predicted"})
        return ""

    def _export(self) -> Request:
        """The modules for the TensorRT of the device; exported now where there are none of the last weights."""
        version = self.board.tensorrt
        try:
            found = request_of_run(self.run_, version)
            self._note("export: kept")
        except BevliteError:
            self.say(f"exporting for TensorRT {version}")
            export_run(self.path, version_key(version))
            found = request_of_run(self.run_, version)
            self._note(f"export: done for TensorRT {version}")
        return found

    def _deploy(self, found: Request) -> tuple[Verdict, str]:
        """Build, verify and measure on a board; of a predicted one the prediction is what there is."""
        if isinstance(self.device, PredictedDevice):
            report = self.device.measure(found.files, found.steps, found.precision)
            self._note("deploy: left out, a predicted board: NOTHING WAS MEASURED")
            over = report.total_ms > self.limits.latency_ms
            why = f"{report.total_ms:.2f} ms predicted, {self.limits.latency_ms:g} ms to be met" if over else ""
            return "predicted", why
        assert isinstance(self.device, BoardDevice)
        modules = Chain(found.files).identity
        known = self.state["done"].get("deploy")
        if known and known["modules"] == modules and self._report().is_file():
            self._note(f"deploy: kept ({known['verdict']})")
            return known["verdict"], known["why"]
        self.say(f"building, verifying and measuring on {self.device.name}")
        budgets = Budgets(**self.limits.known(), drop=self._left())
        deployed = deploy(self.path, self.device, budgets)
        rows = [row for row in deployed.limits if not row.met]
        missed = [f"{row.name} {'not known' if row.found is None else f'{row.found:.4g} {row.unit}'}" for row in rows]
        why = "; ".join([*(["the engine is not accurate"] if not deployed.engine.accurate else []), *missed])
        self._done("deploy", {"modules": modules, "verdict": deployed.verdict, "why": why})
        return deployed.verdict, why

    def _left(self) -> float:
        """What the engines may still lose of each task's accuracy, absolute, after what the stages have lost."""
        ledger = self._ledger()
        for stage in (FLOAT, self.run_.stage):
            if stage not in ledger:
                self.say(f"scoring {stage}")
                evaluate_run(self.path, stage=stage)
                ledger = self._ledger()
        firsts = [next(iter(task.scores.values())) for task in TASKS.members.values() if task.scores]
        start, last = ledger[FLOAT], ledger[self.run_.stage]
        left = [float(last[n]) - float(start[n]) * (1 - self.limits.drop) for n in firsts if n in start and n in last]
        return max(0.0, min(left, default=0.0))

    def _pack(self, found: Request) -> None:
        self.say(f"packing {self.out}")
        manifest = package_run(self.path, self.device, self.out, limits=self.limits.known(), key=self.key)
        self._done("package", {"files": len(manifest["files"])})

    def _missed(self, verdict: Verdict, package: Path | None, why: str) -> Released:
        """With every way out, as variants in the run."""
        folder = self.path / PLAN_FOLDER
        self.say(f"a limit is missed: writing Plan B to {folder}")
        plan = plan_b_of(self.run_.variant(), self.board, self.limits.latency_ms, folder, self.path)
        return Released(verdict, package, tuple(self.steps), why, plan)

    def _report(self) -> Path:
        return self.path / "deploy" / self.device.name / "report.json"

    def _ledger(self) -> dict[str, Any]:
        file = self.path / "ledger.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        return found

    def _note(self, text: str) -> None:
        self.steps.append(text)
        self.say(text)

    def _done(self, step: str, facts: dict[str, Any]) -> None:
        self.state["done"][step] = facts
        write_atomic(self.file, json.dumps(self.state, indent=1) + "\n")
        self._note(f"{step}: {facts.get('why') or 'done'}")

    def _read(self) -> dict[str, Any]:
        """What is done of this release; of another one nothing is."""
        wanted = {
            "limits": asdict(self.limits),
            "device": self.device.name,
            "weights": weights_digest(self.run_, FLOAT),
            "goal": {key: list(v) if isinstance(v, tuple) else v for key, v in self.goal.items()},
        }
        try:
            state: dict[str, Any] = json.loads(self.file.read_text())
            if state["goal"] == wanted and isinstance(state["done"], dict):
                return state
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return {"goal": wanted, "done": {}}
