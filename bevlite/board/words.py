"""What the programs of a package print, and how they end."""

from __future__ import annotations

import sys
from typing import Callable

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.store import disk_fault

DONE, FAILED, BAD_INPUT, EMULATED = 0, 1, 2, 3
BAD_INPUTS = ("package_damaged", "bad_request", "bad_frame")
"""Codes of faults that lie in what was given, not in the board."""


def ended(name: str, work: Callable[[], int]) -> int:
    """The exit code of a program; a fault is one line on standard error."""
    try:
        return work()
    except Fault as fault:
        return told(name, fault)
    except OSError as error:
        return told(name, disk_fault(error))
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    finally:
        process.end_all()


def told(name: str, fault: Fault) -> int:
    """Print a fault; its exit code."""
    fix = fault.facts.get("fix")
    print(f"{name}: {fault.message}" + (f" ({fix})" if fix else ""), file=sys.stderr)
    return BAD_INPUT if fault.code in BAD_INPUTS else FAILED
