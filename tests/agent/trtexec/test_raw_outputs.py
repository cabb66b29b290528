from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.trtexec.raw_outputs import from_json, from_log

LOG = """[11/21/2026-10:00:00] [I] Dumping I/O Bindings to RAW Files:
[11/21/2026-10:00:00] [I] Writing file for input binding x (with datatype Float and dimensions 1.2) to x.input.raw
[11/21/2026-10:00:00] [I] Writing file for output binding lidar_bev (with datatype Half and dimensions 1.3.4) to l.raw
"""


def test_files_are_found_in_the_log(tmp_path: Path) -> None:
    (found,) = from_log(LOG, str(tmp_path)).items()
    assert found[0] == "lidar_bev" and found[1] == (str(tmp_path / "l.raw"), "float16", [1, 3, 4])
    with pytest.raises(Fault, match="type Fp4"):
        from_log(LOG.replace("Half", "Fp4"), "")


def test_json_becomes_raw_files_with_nan_and_infinity(tmp_path: Path) -> None:
    text = '[ { "name" : "y", "dimensions" : "1x4", "values" : [ 1.5, nan, -inf, inf ] }\n'
    text += ', { "name" : "c", "dimensions" : "2", "values" : [ 3, -7 ] } ]'
    (tmp_path / "o.json").write_text(text)
    found = from_json(str(tmp_path / "o.json"), {"y": "float32", "c": "int64"}, str(tmp_path))
    y = np.fromfile(found["y"].path, found["y"].dtype)
    assert y[0] == 1.5 and math.isnan(y[1]) and y[2] == -math.inf and y[3] == math.inf and found["y"].shape == [1, 4]
    # TensorRT 8 has no INT64: it gives INT32.
    assert found["c"].dtype == "int32" and np.fromfile(found["c"].path, np.int32).tolist() == [3, -7]


def test_a_missing_or_cut_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="did not write"):
        from_json(str(tmp_path / "gone"), {}, str(tmp_path))
    (tmp_path / "cut.json").write_text('[ { "name" : "y", "dim')
    with pytest.raises(Fault) as caught:
        from_json(str(tmp_path / "cut.json"), {}, str(tmp_path))
    assert caught.value.code == "truncated_json"
