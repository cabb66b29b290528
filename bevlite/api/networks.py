"""Networks: describe, build, train, evaluate, look at, export."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from bevlite.analysis.cost import ModuleCost
    from bevlite.data.config import DataConfig
    from bevlite.devices.board_device import BoardDevice
    from bevlite.export.run import ExportReport
    from bevlite.models.detector import Detector
    from bevlite.run_folder import Run, Stage
    from bevlite.training.recipe import Recipe
    from bevlite.variant import Variant

PathLike = str | os.PathLike[str]


def load_variant(file: PathLike, *, overrides: Iterable[str] = ()) -> Variant:
    """Read a variant file.

    Args:
        file: a variant YAML file.
        overrides: settings of the file, `a.b=c`.

    Returns:
        The variant, complete; `.hash` and `.network_hash` name it.

    Raises:
        ConfigError: the file is wrong, with one line that names key, what was found and what is accepted.
    """
    from bevlite.variant import load_variant

    return load_variant(file, overrides)


def module_costs(variant: Variant | PathLike, *, overrides: Iterable[str] = ()) -> list[ModuleCost]:
    """Count parameters and MACs of each module, as `bevlite variant show` does.

    Args:
        variant: a variant, or its file.
        overrides: settings of the file, `a.b=c`.

    Raises:
        ConfigError: the file is wrong.
    """
    from bevlite.analysis.cost import module_costs

    return module_costs(_variant(variant, overrides))


def build(
    source: Variant | Run | PathLike, *, overrides: Iterable[str] = (), stage: Stage | None = None
) -> Detector:  # fmt: skip
    """The network in torch, in evaluation mode: of a variant with random weights, of a run with its own.

    Args:
        source: a variant, its file, a run, or its folder.
        overrides: settings of a variant, `a.b=c`.
        stage: of a run, weights of which stage; None for the last one.

    Returns:
        The network on the CPU; it takes what a batch holds (`bevlite.models.detector.Detector`).

    Raises:
        ConfigError: the variant is wrong.
        BevliteError: not a run, no weights, or overrides with a run, whose weights would not fit.
    """
    from bevlite.models.detector import Detector
    from bevlite.run_folder import Run
    from bevlite.variant import Variant

    if isinstance(source, Variant) or not (isinstance(source, Run) or Path(source).is_dir()):
        return Detector(_variant(source, overrides)).eval()
    run = Run(run_path(source))
    if list(overrides):
        raise BevliteError(f"build: found overrides with {run.path}, which has its weights; accepted: with a variant")
    variant = run.variant(stage)
    network = Detector(variant)
    network.load_state_dict(run.weights(variant, stage))
    return network.eval()


def train(
    variant: Variant | PathLike,
    *,
    data: DataConfig | PathLike,
    recipe: Recipe | PathLike,
    out: PathLike,
    init: Mapping[str, PathLike] | None = None,
    resume: bool = False,
    devices: int = 1,
    overrides: Iterable[str] = (),
    recipe_overrides: Iterable[str] = (),
    evaluate: bool = True,
    progress: bool = True,
) -> Run:
    """Train a variant into a run folder. Ctrl-C keeps what was saved; the same call with `resume` goes on.

    Args:
        variant: a variant, or its file.
        data: a nuScenes-format root, a data YAML file, or its configuration.
        recipe: a recipe, or its file.
        out: the run folder.
        init: runs from which `camera`, `lidar` or `heads` start.
        resume: go on from the last saved epoch, if there is one.
        devices: GPUs (or CPU processes).
        overrides: settings of a variant file, `a.b=c`.
        recipe_overrides: settings of a recipe file, `a.b=c`.
        evaluate: score the validation split at the end (`eval/` and `ledger.json` of the run).
        progress: print a line an epoch.

    Returns:
        The run: what `build`, `evaluate`, `show`, `export`, `latency` and `deploy` take.

    Raises:
        ConfigError: a file is wrong.
        BevliteError: unusable data, a run that exists already, a loss that is not finite.
    """
    from bevlite.config import import_parts
    from bevlite.data.config import DataConfig, load_data_config
    from bevlite.training.recipe import Recipe, load_recipe

    # What is wrong with a file is said before the seconds that torch and Lightning take to import.
    if isinstance(variant, (str, os.PathLike)):
        import_parts(variant, overrides)
    how = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, recipe_overrides)
    where = data if isinstance(data, DataConfig) else load_data_config(os.fspath(data))
    network = _variant(variant, overrides)
    from bevlite.training.loop import train

    if evaluate:  # what would fail after the training is said before it
        from bevlite.data.index import require_split

        require_split(where.resolved(), "evaluate=False trains without scoring")
    streams = {name: Path(path) for name, path in (init or {}).items()}
    run = train(network, where, how, Path(out), init=streams, resume=resume, devices=devices, progress=progress)
    if evaluate:
        from bevlite.evaluation.run import evaluate_run

        evaluate_run(run.path, progress=progress)
    return run


def evaluate(
    run: Run | PathLike,
    *,
    split: str | None = None,
    backend: Literal["torch", "onnx", "tensorrt"] | None = None,
    device: BoardDevice | str | None = None,
    batch_size: int | None = None,
    data: DataConfig | PathLike | None = None,
    stage: str | None = None,
    drop: str | None = None,
    draws: int = 200,
    progress: bool = True,
) -> dict[str, Any]:
    """Score a run over a split: NDS, mAP, the five errors, occupancy mIoU, and what other tasks have.

    Args:
        run: a run, or its folder.
        split: an official split; None for the validation split.
        backend: `torch`, `onnx` (the exported modules) or `tensorrt` (engines on `device`); None for torch, and for
            onnx where `stage` is `int`.
        device: the board that runs the engines, or its name.
        batch_size: samples at a time; None for 4, on a board 16.
        data: other data than the run was trained on.
        stage: weights of which stage (float, pruned, finetuned, calibration, qat); None for the last one, `int` for
            the last quantized one on integer kernels.
        drop: what gives nothing: `camera`, `lidar`, or one camera by its channel (`CAM_FRONT`). The figures then stand
            under a name of their own.
        draws: of scenes with replacement, for intervals and for those of differences in the ledger; 0 for none.
        progress: show it.

    Returns:
        The figures by name, also in `eval/` and the ledger of the run.

    Raises:
        BevliteError: not a run, no weights, no such split, unusable data, a fault of the board.
    """
    from bevlite.data.config import DataConfig, load_data_config
    from bevlite.evaluation.run import evaluate_run

    if backend not in (None, "torch", "onnx", "tensorrt"):
        raise BevliteError(f"--backend: found '{backend}'; accepted: torch, onnx, tensorrt")
    if bool(device) != (backend == "tensorrt"):
        raise BevliteError("eval: --backend tensorrt and --device NAME go together; accepted: both, or neither")
    where = data if data is None or isinstance(data, DataConfig) else load_data_config(os.fspath(data))
    from bevlite.api.opened import opened_board

    with opened_board(device, None) as board:
        return evaluate_run(
            run_path(run),
            split=split,
            backend=backend,
            device=board,
            data=where,
            batch_size=batch_size,
            stage=stage,
            drop=drop,
            draws=draws,
            progress=progress,
        )


def show(
    run: Run | PathLike, *, out: PathLike, sample: int = 0, split: str | None = None, score: float = 0.3
) -> Path:  # fmt: skip
    """Draw one sample of a run: boxes on the six images and in BEV, rasters from above; truth beside prediction.

    Args:
        run: a run, or its folder; or a data root, of which the truth alone is drawn.
        out: the PNG file to write.
        sample: which sample of the split, from 0.
        split: an official split; None for the validation split.
        score: predictions from this score on (0..1).

    Returns:
        The file.

    Raises:
        BevliteError: neither a run nor a data root, no weights, no such sample.
    """
    from bevlite.data.config import DataConfig, holds_tables
    from bevlite.evaluation.picture import draw_sample, draw_truth

    if isinstance(run, (str, os.PathLike)) and holds_tables(Path(run)):
        draw_truth(DataConfig(root=os.fspath(run)), sample, Path(out), split=split)
        return Path(out)
    draw_sample(run_path(run), sample, Path(out), split=split, score=score)
    return Path(out)


def show_reach(
    sources: Iterable[Variant | Run | PathLike],
    *,
    data: DataConfig | PathLike,
    out: PathLike,
    sample: int = 0,
    split: str | None = None,
    camera: str = "CAM_FRONT",
) -> Path:
    """Draw where the pixels of one camera land in BEV, a panel for each network.

    Args:
        sources: variants or their files, drawn with random weights; runs or their folders, with their own.
        data: a data configuration, its file, or a data root: its images and calibration are used.
        out: the PNG file to write.
        sample: which sample of the split, from 0.
        split: an official split; None for the validation split.
        camera: the channel of the camera.

    Returns:
        The file.

    Raises:
        BevliteError: a source or the data cannot be used; no such camera or sample.
    """
    from bevlite.data.config import DataConfig, load_data_config
    from bevlite.evaluation.reach import Source, draw_reach
    from bevlite.run_folder import Run
    from bevlite.variant import Variant

    found = []
    for source in sources:
        if not isinstance(source, (Variant, Run)) and Path(source).is_dir():
            source = Run(Path(source))
        found.append(Source(source.variant(), source) if isinstance(source, Run) else Source(_variant(source, ())))
    where = (data if isinstance(data, DataConfig) else load_data_config(os.fspath(data))).resolved()
    draw_reach(found, where, Path(out), sample=sample, split=split or str(where.val_split), camera=camera)
    return Path(out)


def export(
    run: Run | PathLike,
    *,
    tensorrt: str | None = None,
    single_file: bool = False,
    samples: int = 4,
    stage: str | None = None,
    check: str | None = None,
) -> list[ExportReport]:
    """Export a run to ONNX for stock TensorRT, checked operator by operator, by NVIDIA's compiler and against torch.

    Args:
        run: a run, or its folder.
        tensorrt: 8.5, 8.6, 10.3, 10.16 or 11.4; None for all of them.
        single_file: one `network.onnx` instead of one file a module.
        samples: samples on which ONNX is compared with torch.
        stage: weights of which stage (float, pruned, finetuned, calibration, qat); None for the last one.
        check: `rtx` asks NVIDIA's own compiler (`pip install 'bevlite[rtx]'`), `none` does not; None asks where it is
            installed.

    Returns:
        One report an emission; `.files` are the modules, `.witnesses` NVIDIA's word on them.

    Raises:
        ExportError: an operator that a version would refuse or run wrongly, a refusal of NVIDIA's compiler, or an
            output that differs from torch.
        BevliteError: not a run, no weights, an unknown version, or `rtx` where it is not installed.
    """
    from bevlite.export.run import export_run

    return export_run(run_path(run), tensorrt, single_file=single_file, samples=samples, stage=stage, check=check)


def run_path(run: Run | PathLike) -> Path:
    """The folder of a run."""
    return Path(run) if isinstance(run, (str, os.PathLike)) else run.path


def _variant(source: Variant | PathLike, overrides: Iterable[str]) -> Variant:
    from bevlite.variant import Variant, changed, load_variant

    return changed(source, overrides) if isinstance(source, Variant) else load_variant(source, overrides)
