"""The commands of `export.json`, as the emulated trtexec of every version reads them."""

from __future__ import annotations

import shlex
from pathlib import Path

import onnx
import pytest

from bevlite.export.graph.emit import export_variant
from bevlite.export.manual import manual
from bevlite.simulation.jetson.releases import RELEASES
from bevlite.simulation.jetson.trtexec.flags import parse
from bevlite.simulation.jetson.trtexec.options import read_options
from bevlite.tensorrt import VERSIONS, form_for, version_key
from tests.tiny import lidar_only


@pytest.mark.parametrize("version", VERSIONS)
def test_commands_and_tensors(version: str, tmp_path: Path) -> None:
    variant = lidar_only()
    files = export_variant(variant, tmp_path, form_for(version, variant.precision))
    found = manual(files, [version], variant.precision)
    assert list(found) == list(files)
    for name, entry in found.items():
        model = onnx.load(files[name])
        assert list(entry["inputs"]) == [i.name for i in model.graph.input]
        assert list(entry["outputs"]) == [o.name for o in model.graph.output]
        for tensor, value in zip(entry["inputs"].values(), model.graph.input, strict=True):
            assert tensor["shape"] == [d.dim_value for d in value.type.tensor_type.shape.dim]
        program, *words = shlex.split(entry["trtexec"][version])
        releases = {version_key(r.version): r for r in RELEASES.values()}
        release = releases.get(version, releases["11.4"])  # which is derived from the sources of 11.1
        options = read_options(parse(words, release), release)  # an unknown flag is an error of that version
        assert program == "trtexec" and str(options.onnx) == f"{name}.onnx" and options.build_only
        assert options.strongly_typed == (not version.startswith("8."))
        assert options.fp16 == version.startswith("8.")
