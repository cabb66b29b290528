from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.lease import Lease
from bevlite.agent.system.paths import ROOT_VARIABLE
from tests.waiting import LONG_S, until


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board whose uptime stands still until a test moves it."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("first\n")
    uptime(tmp_path, 100.0)
    return tmp_path


def uptime(root: Path, seconds: float) -> None:
    (root / "proc/uptime").write_text(f"{seconds:.2f} 0.0\n")


def lease(root: Path, owner: str, ttl_s: float = 60.0, lost: list[str] | None = None) -> Lease:
    return Lease(str(root), owner, ttl_s, lambda: lost.append(owner) if lost is not None else None)


def quiet(_: str) -> None:
    return None


def test_one_at_a_time(root: Path) -> None:
    first, second = lease(root, "a"), lease(root, "b")
    first.acquire(0, quiet)
    said: list[str] = []
    with pytest.raises(Fault, match="leased by a for another 60 s") as caught:
        second.acquire(0.25, said.append)
    assert caught.value.code == "lease_held" and said == ["waiting for the board: a has it"]
    first.release()
    second.acquire(0, quiet)
    second.release()
    assert not (root / "lease.json").exists()


def test_it_is_taken_over_when_it_has_expired_and_the_old_owner_hears_of_it(root: Path) -> None:
    lost: list[str] = []
    first = lease(root, "a", ttl_s=600.0, lost=lost)
    first.acquire(0, quiet)
    uptime(root, 701.0)  # the board was so busy that nothing was renewed
    second = lease(root, "b")
    second.acquire(0, quiet)
    assert not first.renew() and lost == ["a"]
    with pytest.raises(Fault) as caught:
        first.require()
    assert caught.value.code == "lease_lost"
    first.release()  # must not take the other's
    assert json.loads((root / "lease.json").read_text())["owner"] == "b"
    second.release()


def test_it_is_renewed_while_it_is_held(root: Path) -> None:
    first = lease(root, "a", ttl_s=0.3)
    first.acquire(0, quiet)
    uptime(root, 100.2)
    assert until(lambda: json.loads((root / "lease.json").read_text())["expires"] == pytest.approx(100.5))
    first.release()


def test_a_full_disk_for_a_while_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that cannot be renewed is ours until it expires; with space again it is renewed."""
    first = lease(root, "a", ttl_s=600.0)
    first.acquire(0, quiet)
    uptime(root, 300.0)
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_write", full)
        assert first.renew()
    assert json.loads((root / "lease.json").read_text())["expires"] == 700.0
    assert first.renew() and json.loads((root / "lease.json").read_text())["expires"] == 900.0
    uptime(root, 800.0)
    with pytest.raises(Fault, match="leased by a"):
        lease(root, "b").acquire(0, quiet)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_it_ends_with_the_boot(root: Path) -> None:
    lease(root, "a").acquire(0, quiet)
    (root / "proc/sys/kernel/random/boot_id").write_text("second\n")
    uptime(root, 5.0)  # far from the expiry that was written before
    second = lease(root, "b")
    second.acquire(0, quiet)
    second.release()


def test_it_ends_with_its_process(root: Path) -> None:
    code = (
        "import sys; from bevlite.agent.lease import Lease; import os\n"
        f"Lease({str(root)!r}, 'dead', 600.0, lambda: None).acquire(0, print); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert json.loads((root / "lease.json").read_text())["owner"] == "dead"
    second = lease(root, "b")
    second.acquire(0, quiet)
    second.release()


def test_two_workers_at_once_are_never_both_in(root: Path) -> None:
    inside, most, turns = [0], [0], [0]

    def work(owner: str) -> None:
        for _ in range(5):
            mine = lease(root, owner)
            mine.acquire(LONG_S, quiet)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= 1
            turns[0] += 1
            mine.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and turns == [20]


def test_a_damaged_file_is_nobody_s_lease(root: Path) -> None:
    (root / "lease.json").write_text('{"owner": "x", "pid"')
    first = lease(root, "a")
    first.acquire(0, quiet)
    first.release()


def test_whoever_waits_longest_is_next_even_after_a_look_elsewhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Places are kept by a clock that stands still while both wait: none of them is overlooked because it is slow.
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: time.sleep(0.01), time=time.time)
    monkeypatch.setattr("bevlite.agent.lease.time", clock)
    holder, late, early = lease(root, "holder"), lease(root, "late"), lease(root, "early")
    holder.acquire(0, quiet)
    for waiter in (early, late):
        with pytest.raises(Fault):
            waiter.acquire(0, quiet)
        now[0] += 1.0
    order: list[str] = []

    def work(owner: str, mine: Lease) -> None:
        mine.acquire(10, quiet)
        order.append(owner)
        mine.release()

    def here(owner: str) -> bool:
        return bool(json.loads((root / "lease.queue").read_text()).get(owner, {}).get("seen") == now[0])

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in (("late", late), ("early", early))]
    for thread, owner in zip(threads, ("late", "early"), strict=True):
        thread.start()
        assert until(lambda owner=owner: here(owner))  # both wait, the late one in front of the door
    holder.release()
    for thread in threads:
        thread.join(timeout=LONG_S)
    assert order == ["early", "late"]


def test_who_went_away_holds_nobody_up(root: Path) -> None:
    holder, gone, here = lease(root, "holder"), lease(root, "gone"), lease(root, "here")
    holder.acquire(0, quiet)
    with pytest.raises(Fault):
        gone.acquire(0, quiet)
    holder.release()
    here.acquire(0, quiet)
    here.release()


def test_the_log_tells_who_had_the_board(root: Path) -> None:
    for owner in ("a", "b"):
        mine = lease(root, owner)
        mine.acquire(0, quiet)
        mine.release()
    rows = [json.loads(line) for line in (root / "leases.jsonl").read_text().splitlines()]
    assert [(row["owner"], row["event"]) for row in rows] == [
        ("a", "taken"), ("a", "released"), ("b", "taken"), ("b", "released"),
    ]  # fmt: skip
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
