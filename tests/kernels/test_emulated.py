"""Every kernel on the emulated GPU against its numpy reference, in two orders of its blocks."""

from __future__ import annotations

import pytest

from tests.kernels.cases import CASES, hold
from tests.kernels.emulation import emulate, needs_compiler


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_its_reference(name: str) -> None:
    case = CASES[name]
    expected = case.step.reference(case.inputs)
    hold(emulate(case.step.plan, case.inputs), expected, case.tolerance)
    hold(emulate(case.step.plan, case.inputs, seed=11), expected, case.tolerance)
