"""Export a run: modules, operator check, parity, one report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from bevlite.config import write_atomic
from bevlite.data.dataset import BEVDataset, collate
from bevlite.data.index import load_index
from bevlite.errors import BevliteError, ExportError
from bevlite.evaluation.networks import TorchNetwork
from bevlite.export.check.operators import VERSIONS, OperatorFinding, check_model, version_key
from bevlite.export.graph.modules import OPSETS, Emission, export_network, form_for
from bevlite.export.parity import OutputParity, compare
from bevlite.export.session import OnnxNetwork
from bevlite.models.detector import pillar_grid
from bevlite.run_folder import Run

RELATIVE_LIMIT = {"weak": 1e-3, "strong": 5e-2}
"""Largest root mean square difference over that of the reference: rounding of FP32, and of FP16 end to end."""
OCCUPANCY_LIMIT = {"weak": 1e-3, "strong": 2e-2}
"""Largest share of voxels whose class may differ."""


@dataclass
class ExportReport:
    """What was exported in one emission, and what speaks for and against it."""

    emission: Emission
    opset: int
    tensorrt: tuple[str, ...]
    files: dict[str, Path]
    findings: list[OperatorFinding] = field(default_factory=list)
    parity: list[OutputParity] = field(default_factory=list)
    parity_note: str = ""

    @property
    def problems(self) -> list[str]:
        """Why this export must not be used; empty when nothing speaks against it."""
        found = [
            f"{f.node} ({f.op}) on TensorRT {f.version}: {f.reason}"
            for f in self.findings
            if f.severity in ("error", "silent_wrong") and f.version in self.tensorrt
        ]
        for row in self.parity:
            limits = OCCUPANCY_LIMIT if row.name == "occupancy" else RELATIVE_LIMIT
            if not row.relative <= limits[self.emission] or not np.isfinite(row.largest):
                limit = limits[self.emission]
                found.append(f"output {row.name} differs from torch by {row.relative:.2g} (limit {limit:g})")
        return found

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {
            "emission": self.emission,
            "opset": self.opset,
            "tensorrt": list(self.tensorrt),
            "files": {name: file.name for name, file in self.files.items()},
            "parity": [asdict(row) for row in self.parity],
            "parity_note": self.parity_note,
            "findings": [asdict(finding) for finding in self.findings],
        }


def emissions_for(tensorrt: str | None) -> list[tuple[Emission, int, tuple[str, ...]]]:
    """Emission, opset and the versions it is for: all of them, or the one that a TensorRT version takes."""
    weak, strong = ("8.5", "8.6"), tuple(v for v in VERSIONS if not v.startswith("8."))
    if tensorrt is None:
        # Opset 17 serves 8.5 as well as long as no LayerNormalization is in the graph; the check tells.
        return [("weak", OPSETS["weak"], weak), ("strong", OPSETS["strong"], strong)]
    try:
        return [(*form_for(tensorrt), (version_key(tensorrt),))]
    except ExportError:
        accepted = ", ".join(VERSIONS)
        raise BevliteError(f"--tensorrt: found '{tensorrt}'; accepted: {accepted}, or another from 8.5 on") from None


def export_run(
    path: Path, tensorrt: str | None = None, *, single_file: bool = False, samples: int = 4
) -> list[ExportReport]:
    """Write `onnx/<emission>/<module>.onnx` and `onnx/export.json`.

    Args:
        path: the run folder.
        tensorrt: a version to export for, such as `8.5.2` or `11.4`; None for both emissions, checked against every
            version that counts.
        single_file: one `network.onnx` instead of one file a module.
        samples: samples of the validation split (or else the training split) to compare with torch.

    Returns:
        One report an emission.

    Raises:
        ExportError: an operator that the version would refuse or run wrongly, or an output that differs from torch;
            the files and the report are written all the same, so that they can be looked at.
        BevliteError: not a run, no weights, an unknown version.
    """
    plan = emissions_for(tensorrt)
    run = Run(path)
    network = TorchNetwork(run)
    network.network.cpu()
    network.device = next(network.network.parameters()).device
    batches, note = real_batches(run, samples)
    reports = []
    for emission, opset, versions in plan:
        folder = path / "onnx" / emission
        files = export_network(network.network, folder, emission, single_file=single_file, opset=opset)
        for stale in set(folder.glob("*.onnx")) - set(files.values()):  # of an earlier export in another form
            stale.unlink()
        report = ExportReport(emission, opset, versions, files, parity_note=note)
        for file in files.values():
            report.findings += check_model(file, versions)
        if batches:
            report.parity = compare(network, OnnxNetwork(run.variant(), files), batches)
        reports.append(report)
    write_atomic(path / "onnx" / "export.json", json.dumps([r.as_json() for r in reports], indent=1) + "\n")
    _raise_problems(reports)
    return reports


def _raise_problems(reports: Sequence[ExportReport]) -> None:
    problems = [(report.emission, text) for report in reports for text in report.problems]
    if problems:
        emission, text = problems[0]
        more = f" (and {len(problems) - 1} more in export.json)" if len(problems) > 1 else ""
        raise ExportError(f"{emission} export: {text}{more}")


def real_batches(run: Run, samples: int) -> tuple[list[dict[str, Any]], str]:
    """Real batches of one sample, and where they come from."""
    try:
        data = run.data()
        index = load_index(data)
    except BevliteError as error:
        return [], f"parity not checked: {error}"
    variant = run.variant()
    for split in (str(data.val_split), str(data.train_split)):
        try:
            rows = index.rows_of_split(split)
        except BevliteError:
            continue
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(samples, len(rows))).astype(int))]
        grid = pillar_grid(variant) if variant.lidar is not None else None
        dataset = BEVDataset(data.root, index, chosen, variant, grid, truth=False)
        return list(DataLoader(dataset, collate_fn=collate)), f"{len(chosen)} samples of {split}"
    return [], "parity not checked: the data holds no sample of its splits"
