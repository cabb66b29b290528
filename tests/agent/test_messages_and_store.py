from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.messages import EndOfStream, MessageError, read_message, write_message
from bevlite.agent.store import Store
from bevlite.agent.system.paths import ROOT_VARIABLE, at, emulated, home


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return Store()


def test_a_frame_comes_back_as_it_went() -> None:
    stream = io.BytesIO()
    write_message(stream, {"op": "put", "text": "ü\n"}, b"\0\1")
    write_message(stream, {})
    stream.seek(0)
    assert read_message(stream) == ({"op": "put", "text": "ü\n"}, b"\0\1") and read_message(stream) == ({}, b"")
    with pytest.raises(EndOfStream):
        read_message(stream)


def test_every_cut_and_every_changed_byte_is_found() -> None:
    stream = io.BytesIO()
    write_message(stream, {"a": 1}, b"blob")
    whole = stream.getvalue()
    for size in range(1, len(whole)):
        with pytest.raises(MessageError):
            read_message(io.BytesIO(whole[:size]))
    for place in range(len(whole)):
        with pytest.raises(MessageError):
            read_message(io.BytesIO(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]))


def test_an_upload_goes_on_where_it_broke_off(store: Store) -> None:
    content = bytes(range(256)) * 10
    sha = hashlib.sha256(content).hexdigest()
    assert store.present(sha) == 0
    assert store.append(sha, 0, len(content), content[:1000]) == 1000
    assert store.present(sha) == 1000
    assert store.append(sha, 0, len(content), content[:500]) == 1000, "another worker is further already"
    assert store.append(sha, 1000, len(content), content[1000:]) == len(content)
    assert Path(store.require(sha)).read_bytes() == content and store.present(sha) == len(content)


def test_workers_that_send_the_same_file_at_once_leave_one_whole_file(store: Store) -> None:
    for number in range(20):
        content = bytes([number]) + bytes(range(256)) * 40
        sha = hashlib.sha256(content).hexdigest()
        start = threading.Barrier(4)

        def send(content: bytes = content, sha: str = sha, start: threading.Barrier = start) -> None:
            worker, offset = Store(), 0
            start.wait()
            while not worker.is_whole(sha):
                offset = worker.append(sha, offset, len(content), content[offset : offset + 1000])

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Path(store.require(sha)).read_bytes() == content
        assert list((Path(store.root) / "uploads").glob("*.part")) == []


def test_a_damaged_upload_is_thrown_away(store: Store) -> None:
    sha = hashlib.sha256(b"right").hexdigest()
    with pytest.raises(Fault) as caught:
        store.append(sha, 0, 5, b"wrong")
    assert caught.value.code == "upload_damaged" and store.present(sha) == 0
    with pytest.raises(Fault):
        store.require(sha)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "g" * 64, "A" * 64])
def test_a_name_that_is_no_hash_reaches_no_file(store: Store, name: str) -> None:
    with pytest.raises(Fault, match="SHA-256"):
        store.upload(name)


def test_a_result_stays_until_it_is_fetched(store: Store) -> None:
    store.keep_result("../job", {"a": [1.5]})
    assert Store().result("../job") == {"a": [1.5]} and store.result("other") is None
    store.forget_result("../job")
    assert store.result("../job") is None


def test_an_emulated_board_is_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert at("/proc/uptime") == "/proc/uptime"
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    assert at("/proc/uptime") == f"{tmp_path}/proc/uptime" and home().startswith(str(tmp_path))
    assert not emulated()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/bevlite-emulated").touch()
    assert emulated()
