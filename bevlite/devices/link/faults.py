"""What can go wrong between host and board: one class each, with a stable code and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from bevlite.errors import BevliteError


class Verdict(Enum):
    """What a failure that stands means for a pool of boards, and for a search."""

    REJECT = "the work is at fault: another board would answer the same"
    WAIT = "the board's failure, which may be gone after a while without anybody's help"
    MEND = "the board's failure, which somebody has to mend"
    UNCLEAR = "the work's fault or the board's: another board can tell"


class DeviceFault(BevliteError):
    """A failure of a device. The message is one line: the device, what happened, and (`fix`) what mends it.

    What follows from it: `tries` is how often the work is tried again on the same board before the failure stands, and
    `verdict` what it means then. After one that `ends_connection` the board is connected to anew; one that is `away`
    may come back, and is waited for if it was there before.
    """

    exit_code = 1
    code: ClassVar[str] = "device"
    tries: ClassVar[int] = 0
    verdict: ClassVar[Verdict] = Verdict.UNCLEAR
    ends_connection: ClassVar[bool] = False
    away: ClassVar[bool] = False
    meaning: ClassVar[str] = "any other failure of the device"

    def __init__(self, device: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        self.device, self.facts = device, dict(facts or {})
        self.fix = str(self.facts.get("fix", ""))
        super().__init__(f"{device}: {message}" + (f"; to mend it: {self.fix}" if self.fix else ""))


class ConnectionLost(DeviceFault):
    """The connection ended in a phase; the board is asked again, and gives a finished result at once."""

    code, tries = "connection_lost", 4
    meaning = "the connection ended in the middle (the message names the phase)"
    verdict = Verdict.WAIT
    ends_connection = True


class Unreachable(DeviceFault):
    """No connection could be made."""

    code, tries, meaning = "unreachable", 2, "no connection: name, network, or the board is off"
    verdict = Verdict.WAIT
    ends_connection = True
    away = True


class HostKeyChanged(DeviceFault):
    """The board shows another host key than the one that is known, or none is known."""

    code, meaning = "host_key_changed", "the host key is not the known one: never tried again, never accepted for you"
    verdict = Verdict.MEND


class AuthRefused(DeviceFault):
    """The board does not let the user in."""

    code, meaning = "auth_refused", "key or user refused"
    verdict = Verdict.MEND


class PythonMissing(DeviceFault):
    """The board has no usable python3."""

    code, meaning = "python_missing", "no python3 (3.8 or later) on the board"
    verdict = Verdict.MEND


class BoardRebooted(DeviceFault):
    """The board was booted since the work began."""

    code, tries, meaning = "board_rebooted", 2, "another boot id after a lost connection"


class TruncatedAnswer(DeviceFault):
    """A JSON file of trtexec or an answer of the agent is not whole, or contradicts what was printed."""

    code, tries, meaning = "truncated_json", 2, "a JSON file is cut off or contradicts the log"
    ends_connection = True


class TrtexecMissing(DeviceFault):
    """No trtexec on the board."""

    code, meaning = "trtexec_missing", "no trtexec on the board"
    verdict = Verdict.MEND


class UnknownVersion(DeviceFault):
    """A TensorRT whose flags and output are not known."""

    code, meaning = "unknown_version", "a TensorRT that BEVLite does not know"
    verdict = Verdict.MEND


class UnsupportedOperator(DeviceFault):
    """The parser of TensorRT does not know an operator; `facts['op']` names it."""

    code, meaning = "unsupported_operator", "the parser does not know an operator (named)"
    verdict = Verdict.REJECT


class OutOfMemory(DeviceFault):
    """Not enough memory for tactics or for the engine."""

    code, meaning = "out_of_memory", "no memory for the tactics: smaller workspace, no desktop, swap"
    verdict = Verdict.REJECT


class NoImplementation(DeviceFault):
    """TensorRT knows a node and has no kernel for it, and memory was not what was missing; `facts['node']` names it."""

    code, meaning = "no_implementation", "no kernel for a node as it is (named), with memory enough"
    verdict = Verdict.REJECT


class Killed(DeviceFault):
    """The kernel killed trtexec."""

    code, tries, meaning = "killed", 1, "trtexec killed by the kernel (137)"


class DiskFull(DeviceFault):
    """No space left on the board."""

    code, meaning = "disk_full", "no space left on the board"
    verdict = Verdict.MEND


class EngineOtherVersion(DeviceFault):
    """An engine of another TensorRT, even after it was built again."""

    code, meaning = "engine_other_version", "cached engine of another TensorRT: built again once on the board, noted"


class EngineOtherModule(DeviceFault):
    """An engine of another GPU or power mode, even after it was built again."""

    code, meaning = "engine_other_module", "cached engine of another module or mode: built again once, noted"


class EngineUnreadable(DeviceFault):
    """An engine that cannot be loaded, even after it was built again."""

    code, meaning = "engine_unreadable", "cached engine damaged: built again once, noted"


class WrongPrecision(DeviceFault):
    """The engine is not what was asked: no latency is given for it."""

    code, meaning = "wrong_precision", "the layers of the built engine are not in the precision asked"
    verdict = Verdict.REJECT


class Throttling(DeviceFault):
    """The board throttled in every attempt."""

    code, meaning = "throttling", "clock fell, over-current, heat or drift: run void, repeated on the board first"
    verdict = Verdict.WAIT


class ClockChanged(DeviceFault):
    """The GPU clock changed during every attempt."""

    code, meaning = "clock_changed", "the GPU clock rose during a run: as throttling"
    verdict = Verdict.WAIT


class ClockJump(DeviceFault):
    """The board's clock was set during every attempt."""

    code, tries, meaning = "clock_jump", 1, "the wall clock jumped: the run is void, repeated on the board first"
    verdict = Verdict.WAIT


class ClocksUnlocked(DeviceFault):
    """The clocks may change at any time."""

    code, meaning = "clocks_unlocked", "clocks not locked"
    verdict = Verdict.MEND


class TooHot(DeviceFault):
    """The board is too hot to start."""

    code, tries, meaning = "too_hot", 3, "too hot to start"
    verdict = Verdict.WAIT


class OtherGpuProcess(DeviceFault):
    """Somebody else uses the GPU."""

    code, tries, meaning = "other_gpu_process", 2, "another process on the GPU"
    verdict = Verdict.WAIT


class LeaseHeld(DeviceFault):
    """Another worker has the board, for longer than we wait."""

    code, meaning = "lease_held", "another worker has the board: waited for up to `lease_wait_s`"
    verdict = Verdict.WAIT


class LeaseLost(DeviceFault):
    """The lease ran out and another worker took the board."""

    code, tries, meaning = "lease_lost", 2, "our lease expired and was taken over: the run is void"
    verdict = Verdict.WAIT


class Hang(DeviceFault):
    """A program on the board did not end in its time."""

    code, tries, meaning = "hang", 1, "no end within the limit of the phase: killed with its children"


class SudoPassword(DeviceFault):
    """Sudo would ask for a password."""

    code, meaning = "sudo_password", "sudo wants a password"
    verdict = Verdict.MEND


class NvpmodelReboot(DeviceFault):
    """The power mode needs a reboot, which is the user's to do."""

    code, meaning = "nvpmodel_reboot", "the power mode needs a reboot: never done for you"
    verdict = Verdict.MEND


class DlaUnavailable(DeviceFault):
    """The version or module has no DLA, or the DLA does not take the graph."""

    code, meaning = "dla_unavailable", "no DLA in this version or module"
    verdict = Verdict.REJECT


class BadRequest(DeviceFault):
    """A request that would be answered with something else than asked."""

    code, meaning = "bad_request", "precision, graph and version do not go together"
    verdict = Verdict.REJECT


class TrtexecFailed(DeviceFault):
    """Trtexec failed for a reason without a class of its own."""

    code, meaning = "trtexec_failed", "any other failure of trtexec: its first error line"
    verdict = Verdict.REJECT


class UploadDamaged(DeviceFault):
    """A file did not arrive as it was sent."""

    code, tries, meaning = "upload_damaged", 2, "an uploaded file does not match its hash"


class UploadMissing(DeviceFault):
    """A file that was sent is gone from the board."""

    code, tries, meaning = "upload_missing", 3, "an uploaded file was deleted on the board"


class NoGpu(DeviceFault):
    """No NVIDIA GPU."""

    code, meaning = "no_gpu", "no NVIDIA GPU, or its driver does not answer"
    verdict = Verdict.MEND


class ProgramMissing(DeviceFault):
    """A program of the board is missing."""

    code, meaning = "program_missing", "nvpmodel, jetson_clocks or sudo is not there"
    verdict = Verdict.MEND


class SettingsFailed(DeviceFault):
    """Mode or clocks could not be set."""

    code, meaning = "settings_failed", "nvpmodel or jetson_clocks failed"
    verdict = Verdict.MEND


class DiskFailed(DeviceFault):
    """The board's file system refuses."""

    code, meaning = "disk_failed", "any other failure of the board's file system"
    verdict = Verdict.MEND


class AgentFailed(DeviceFault):
    """A defect of the agent."""

    code, meaning = "agent_failed", "a defect of the agent: please report it"


def _all(parent: type[DeviceFault]) -> list[type[DeviceFault]]:
    return [c for child in parent.__subclasses__() for c in (child, *_all(child))]


FAULTS: dict[str, type[DeviceFault]] = {fault.code: fault for fault in _all(DeviceFault)}
"""Every class by its code."""


def fault_of(code: str, device: str, message: str, facts: Mapping[str, Any]) -> DeviceFault:
    """The fault that an agent reported."""
    return FAULTS.get(code, AgentFailed)(device, message, facts)
