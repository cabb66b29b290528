"""Forms of checkpoints, a file each: how one is told, which variant it makes, and which key goes where."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.forms.form import Form
from bevlite.interop.forms.mit_bevfusion import MITBEVFusion
from bevlite.interop.forms.mmdet3d_bevdet import BEVDet
from bevlite.interop.forms.mmdet3d_centerpoint import CenterPoint

FORMS: dict[str, type[Form]] = {form.name: form for form in (MITBEVFusion, BEVDet, CenterPoint)}


def form_of(given: Mapping[str, Tensor], name: str | None) -> type[Form]:
    """The form of that name, or the one that the keys of a checkpoint tell (raises BevliteError)."""
    if name is not None:
        if name not in FORMS:
            raise BevliteError(f"--as: found '{name}'; accepted: {', '.join(FORMS)}")
        return FORMS[name]
    found = [form for form in FORMS.values() if form.tells(given)]
    if len(found) != 1:
        first = next(iter(given))
        raise BevliteError(
            f"the form of the checkpoint cannot be told from its keys (first: {first}); accepted: --as with one of "
            f"{', '.join(FORMS)}"
        )
    return found[0]
