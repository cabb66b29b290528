"""3D detection. `task` is the task, `form` what it asks of a head's form; `dense` and `queries` are the forms.

Raw maps are named in this folder alone.
"""

from __future__ import annotations

from bevlite.tasks.detection.dense import BOXES, GROUPS, DenseForm
from bevlite.tasks.detection.form import HEATMAP, DetectionForm
from bevlite.tasks.detection.queries import QUERIES, QueryForm
from bevlite.tasks.detection.task import Detection

__all__ = ["BOXES", "GROUPS", "HEATMAP", "QUERIES", "DenseForm", "Detection", "DetectionForm", "QueryForm"]
