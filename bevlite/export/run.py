"""Export a run: modules, operator check, NVIDIA's own compiler, parity, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.config import write_atomic
from bevlite.errors import BevliteError, ExportError
from bevlite.export.check.int8 import denied, lost_share
from bevlite.export.check.operators import OperatorFinding, check_model
from bevlite.export.check.witness import Witness, refusals, wanted, witnesses
from bevlite.export.graph.emit import export_network
from bevlite.export.manual import manual
from bevlite.export.parity import OutputParity, compare
from bevlite.export.real import real_batches
from bevlite.inference.exported import identity_of_export
from bevlite.inference.onnx import OnnxNetwork
from bevlite.inference.torch import TorchNetwork
from bevlite.models.samples import outline
from bevlite.run_folder import Run
from bevlite.runtime.query_sets import allowance
from bevlite.tensorrt import (
    FORMS,
    VERSIONS,
    Emission,
    Form,
    Precision,
    form_for,
    typed_by,
    version_key,
    versions_of,
)

RELATIVE_LIMIT = {"weak": 1e-3, "strong": 5e-2}
"""Largest root mean square difference over that of the reference: rounding of FP32, and of FP16 end to end."""
CLASSES_LIMIT = {"weak": 1e-3, "strong": 2e-2}
"""Largest share of places whose class may differ."""
INT8_LIMIT, INT8_CLASSES_LIMIT = 0.15, 0.05
"""The same where layers are in INT8: a value between two steps falls to either side, and so do more behind it. A change
of 1e-6 of the weights was seen to move outputs by half of what rounding to INT8 does."""
LOST_INT8 = 0.02
"""Share of the multiply-adds that were asked for INT8 and may run in something else."""


@dataclass
class ExportReport:
    """What was exported in one emission, and what speaks for and against it.

    `witnesses` is NVIDIA's word by module, or empty, and `witness_note` says why; `manual` is what a person needs to
    build the files by hand; `quantized` says that layers are in INT8.
    """

    emission: Emission
    opset: int
    tensorrt: tuple[str, ...]
    files: dict[str, Path]
    made_from: dict[str, str]
    manual: dict[str, dict[str, Any]] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    witness_note: str = ""
    findings: list[OperatorFinding] = field(default_factory=list)
    parity: list[OutputParity] = field(default_factory=list)
    parity_note: str = ""
    quantized: bool = False

    @property
    def problems(self) -> list[str]:
        """Why this export must not be used; empty when nothing speaks against it."""
        found = [
            f"{f.node} ({f.op}) on TensorRT {f.version}: {f.reason}"
            for f in self.findings
            if f.severity in ("error", "silent_wrong") and f.version in self.tensorrt
        ]
        found += refusals(self.witnesses.values())
        products = [product for witness in self.witnesses.values() for product in witness.int8]
        if (lost := lost_share(products)) > LOST_INT8:
            first = denied(products)[0].note()
            found.append(f"{lost:.1%} of the INT8 multiply-adds run in something else (limit {LOST_INT8:.0%}): {first}")
        for row in self.parity:
            if self.quantized:
                limit = INT8_CLASSES_LIMIT if row.kind == "classes" else INT8_LIMIT
            else:
                limit = (CLASSES_LIMIT if row.kind == "classes" else RELATIVE_LIMIT)[self.emission]
            limit += allowance(row.agreement) if row.kind == "set" else 0.0
            if not row.relative <= limit or not np.isfinite(row.largest):
                found.append(f"output {row.name} differs from torch by {row.relative:.2g} (limit {limit:g})")
        return found

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {
            "emission": self.emission,
            "opset": self.opset,
            "tensorrt": list(self.tensorrt),
            "made_from": self.made_from,
            "files": {name: file.name for name, file in self.files.items()},
            "modules": self.manual,
            "nvidia": {name: witness.as_json() for name, witness in self.witnesses.items()},
            "nvidia_note": self.witness_note,
            "parity": [asdict(row) for row in self.parity],
            "parity_note": self.parity_note,
            "findings": [asdict(finding) for finding in self.findings],
        }


def forms_for(tensorrt: str | None, precision: Precision) -> list[tuple[Form, tuple[str, ...]]]:
    """Form, and the versions it is for: all of them, or the one that a TensorRT version takes."""
    if tensorrt is None:
        found = [(form, versions_of(emission, precision)) for emission, form in FORMS.items()]
        return [(form, versions) for form, versions in found if versions]
    try:
        return [(form_for(tensorrt, precision), (version_key(tensorrt),))]
    except ExportError:
        accepted = ", ".join(VERSIONS)
        raise BevliteError(f"--tensorrt: found '{tensorrt}'; accepted: {accepted}, or another from 8.5 on") from None


def export_run(
    path: Path,
    tensorrt: str | None = None,
    *,
    single_file: bool = False,
    samples: int = 4,
    stage: str | None = None,
    check: str | None = None,
) -> list[ExportReport]:
    """Write `onnx/<emission>/<module>.onnx` and `onnx/export.json`.

    Args:
        path: the run folder.
        tensorrt: a version to export for, such as `8.5.2` or `11.4`; None for both emissions, checked against every
            version that counts.
        single_file: one `network.onnx` instead of one file a module.
        stage: weights of which stage; None for the last one.
        samples: samples of the validation split (or else the training split) to compare with torch.
        check: `rtx` asks NVIDIA's own compiler about every file, `none` does not; None asks where it is installed.

    Returns:
        One report an emission.

    Raises:
        ExportError: an operator that the version would refuse or run wrongly, a refusal of NVIDIA's compiler, or an
            output that differs from torch; the files and the report are written all the same, so that they can be
            looked at.
        BevliteError: not a run, no weights, an unknown version, or `rtx` where it is not installed.
    """
    forms_for(tensorrt, "fp16")  # a wrong version is said before anything is read
    asked, witness_note = wanted(check)
    run = Run(path)
    chosen = run.chosen(stage)
    variant = run.variant(chosen)
    plan = forms_for(tensorrt, variant.precision)
    network = TorchNetwork(run, stage=chosen)
    network.to_cpu()
    maps = [raw for task in outline(variant).tasks for raw in task.maps]
    batches, note = real_batches(run, samples)
    reports = []
    for form, versions in plan:
        folder = path / "onnx" / form.emission
        files = export_network(network.network, folder, form, single_file=single_file)
        for stale in set(folder.glob("*.onnx")) - set(files.values()):  # of an earlier export in another form
            stale.unlink()
        made_from = identity_of_export(run, variant, chosen, form.emission)
        report = ExportReport(form.emission, form.opset, versions, files, made_from, parity_note=note)
        report.quantized = network.network.quantization is not None
        report.manual, report.witness_note = manual(files, versions, variant.precision), witness_note
        for name, file in files.items():
            report.findings += check_model(file, versions, typed_by(form.emission, variant.precision, name))
        if asked:
            report.witnesses = witnesses(files, tensorrt=versions[0])
        if batches:
            report.parity = compare(network, OnnxNetwork(variant, files), batches, maps)
        reports.append(report)
    entries = [*_kept_entries(path, reports), *(report.as_json() for report in reports)]
    write_atomic(path / "onnx" / "export.json", json.dumps(entries, indent=1) + "\n")
    _raise_problems(reports)
    return reports


def _kept_entries(path: Path, reports: Sequence[ExportReport]) -> list[dict[str, Any]]:
    """What an earlier export wrote of emissions that this one leaves as they are."""
    try:
        before = json.loads((path / "onnx" / "export.json").read_text())
        return [entry for entry in before if entry["emission"] not in {report.emission for report in reports}]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _raise_problems(reports: Sequence[ExportReport]) -> None:
    problems = [(report.emission, text) for report in reports for text in report.problems]
    if problems:
        emission, text = problems[0]
        more = f" (and {len(problems) - 1} more in export.json)" if len(problems) > 1 else ""
        raise ExportError(f"{emission} export: {text}{more}")
