"""A package of a run: every file in memory first, then a folder that appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bevlite.board.contents import FORMAT, MANIFEST
from bevlite.compression.ledger import Allowed, read_ledger
from bevlite.config import to_yaml
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Device
from bevlite.devices.golden.golden import CLASS_LIMITS, RELATIVE_LIMITS
from bevlite.devices.inference import Blobs, Chain
from bevlite.devices.link.orders import network_of
from bevlite.devices.settings import BuildSettings
from bevlite.errors import BevliteError
from bevlite.export.request import Request
from bevlite.models.samples import Outline, outline
from bevlite.packaging import texts
from bevlite.packaging.library import is_program, library_files
from bevlite.packaging.promise import Promise, promise_of
from bevlite.packaging.samples import samples_of, sensors_described
from bevlite.packaging.signing import sign
from bevlite.reporting.ledger import ledger_table
from bevlite.run_folder import Run
from bevlite.tasks.contract import RawMap
from bevlite.variant import Variant

SAMPLES = 2
MARGIN = 0.05
"""How much more than promised a board of the same module may take: boards differ by a few per cent."""
Files = dict[str, bytes]


def package_run(
    path: Path,
    device: Device,
    out: Path,
    *,
    limits: dict[str, float] | None = None,
    samples: int = SAMPLES,
    key: Path | None = None,
) -> dict[str, Any]:
    """Write the package of a run for a device, and give its manifest.

    The same run gives the same bytes. A folder that holds a package is replaced, any other that is in use is not.

    Args:
        path: the run folder.
        device: a board that the run was deployed to, or a predicted board.
        out: where the package goes.
        limits: `latency_ms`, `power_w`, `memory_mb`, `fps`, beside those of the deploy.
        samples: how many samples travel.
        key: an ssh key to sign the manifest with.

    Raises:
        BevliteError: a run that is not exported, not deployed to the board, or without data; a folder in use.
    """
    _require_free(out)
    run = Run(path)
    variant = run.variant()
    promise, found = promise_of(run, device, limits or {})
    files, manifest = _contents(run, variant, promise, found, device, samples)
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in sorted(files.items())
    }
    files[MANIFEST] = _json(manifest)
    _write(files, out, key)
    return manifest


def _contents(
    run: Run, variant: Variant, promise: Promise, found: Request, device: Device, count: int
) -> tuple[Files, dict[str, Any]]:
    """Every file but the manifest, and the manifest without its list of files."""
    network = outline(variant)
    files = library_files()
    build = device.build if isinstance(device, BoardDevice) else BuildSettings()
    modules, feeds = _modules(device.name, build, found, files)
    taken = samples_of(run, found, count)
    files |= taken.files
    files["config.yaml"] = to_yaml(variant).encode()
    tasks = {task.name: task.on_board() for task in network.tasks}
    files["classes.json"] = _json({name: list(task.get("classes", ())) for name, task in tasks.items()})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "network": {
            "name": variant.name,
            "network_hash": variant.network_hash,
            "hash": variant.hash,
            "stage": run.stage,
            "precision": str(found.precision),
        },
        "versions": _versions(run),
        "board": promise.board,
        "promise": {
            "kind": promise.kind, "device": promise.device, "figures": promise.figures, "margin": MARGIN,
            "protocol": promise.protocol, "predictor": promise.predictor, "notes": list(promise.notes),
        },
        "limits": promise.limits,
        "modules": modules,
        "feeds": feeds,
        "engines": _engines(device, promise, modules, files),
        "sensors": sensors_described(variant, taken.points),
        "steps": [step for host in network.hosts for step in host.on_board()],
        "tasks": tasks,
        "golden": _golden(network, modules),
        "samples": [{"file": name, "begins": begins} for name, begins in taken.begins.items()],
        "source": taken.source,
    }  # fmt: skip
    files["README.md"] = texts.readme(manifest).encode()
    files["docs/API.md"] = texts.api(manifest).encode()
    files["docs/OPTIMISED.md"] = _optimised(run, variant, network).encode()
    return files, manifest


def _modules(
    device: str, build: BuildSettings, found: Request, files: Files
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The modules as the agent is asked for them, each with its file in the package; and what state is fed by."""
    chain = Chain(found.files, found.feeds)
    contents, network = network_of(device, build, chain, Blobs({}, []), (), found.precision)
    rows = []
    for module in network["modules"]:
        row = {**module, "file": f"models/{module['name']}.onnx"}
        content = contents[str(module["onnx"])]
        files[row["file"]] = content if isinstance(content, bytes) else content.read_bytes()
        if module["build"]["calibration"] is not None:
            raise BevliteError(
                f"{device}: calibration: {module['name']}: found a cache of INT8; accepted: a network whose graph "
                "holds its scales (bevlite quantize)"
            )
        rows.append(row)
    return rows, dict(network["feeds"])


def _engines(device: Device, promise: Promise, modules: list[dict[str, Any]], files: Files) -> dict[str, Any]:
    """Engines that the board has built, with their identity; their files are put to the others."""
    if not isinstance(device, BoardDevice):
        return {}
    rows = {}
    for name, (row, content) in device.built_engines(modules).items():
        file = f"models/{name}.plan"
        files[file] = content
        facts = {key: value for key, value in row["facts"].items() if key != "cached"}
        rows[name] = {
            "file": file, "key": row["key"], "facts": facts, "layers": row["layers"], "built_on": promise.board
        }  # fmt: skip
    return rows


def _golden(network: Outline, modules: list[dict[str, Any]]) -> dict[str, Any]:
    """How far each raw map may be off, by its kind and the precision of the engine that makes it."""
    maps: list[RawMap] = [raw for task in network.tasks for raw in task.maps]
    owner = {output: module for module in modules for output in module["outputs"]}
    rows = {}
    for raw in maps:
        precision = str(owner[raw.name]["build"]["precision"])
        # Boards run the chain as a whole: the coarsest precision before a map counts as well.
        precision = next((p for p in ("int8", "fp16") if any(m["build"]["precision"] == p for m in modules)), precision)
        limit = (CLASS_LIMITS if raw.kind == "classes" else RELATIVE_LIMITS)[precision]
        rows[raw.name] = {"kind": raw.kind, "limit": limit}
    return rows


def _optimised(run: Run, variant: Variant, network: Outline) -> str:
    plan = variant.compression
    facts = {
        "stage of the weights": run.stage,
        "layers with fewer channels than built": len(plan.widths),
        "blocks removed": ", ".join(plan.removed) or "none",
        "precision": str(variant.precision),
        "modules": ", ".join(module.name for module in network.modules),
    }
    try:
        lines = read_ledger(run.path, Allowed())
    except BevliteError:
        lines = []
    over = [f"{line.name}: {line.over}" for line in lines if line.over]
    return texts.optimised(facts, ledger_table(lines) if lines else "", over)


def _versions(run: Run) -> dict[str, Any]:
    """Of what made the run, and of what packed it."""
    try:
        made = json.loads((run.path / "environment.json").read_text()).get("versions", {})
    except (OSError, ValueError, AttributeError):
        made = {}
    try:
        own = version("bevlite")
    except PackageNotFoundError:
        own = "from source"
    return {"bevlite": own, "run": made}


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()


def _require_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BevliteError(f"--out: {out}: found a folder in use; accepted: a new one, or a package to be replaced")
    if out.exists() and not out.is_dir():
        raise BevliteError(f"--out: {out}: found a file; accepted: a folder")


def _write(files: Files, out: Path, key: Path | None) -> None:
    """Under another name beside it, then renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if is_program(name) else 0o644)
        if key is not None:
            sign(folder, key)
        folder.chmod(0o755)
        if out.exists():
            old = folder.with_name(folder.name + ".old")
            os.replace(out, old)
            shutil.rmtree(old)
        os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
