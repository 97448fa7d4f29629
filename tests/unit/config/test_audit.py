"""The audit log tells when anything of it was changed, and survives what may happen to its process."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services.config import audit
from services.config.assembly import note_unaudited
from services.config.audit import GENESIS, AuditLog, AuditLogError, AuditRecord, files_of, records_of, verify
from services.config.memory_store import MemoryStore
from services.runtime.errors import ResourceExhaustedError
from tests.contracts.parameter_store import put


def record(number: int) -> AuditRecord:
    return AuditRecord(principal="alice", action="write", name=f"/n/{number}", version=1, revision=number)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A log of ten records, written by two processes after each other."""
    path = tmp_path / "audit.log"
    for numbers in (range(1, 6), range(6, 11)):
        async with AuditLog(path, now=lambda: 1.5) as log:
            await asyncio.gather(*(log.add(record(number)) for number in numbers))
    return path


def test_a_log_that_nobody_touched_is_intact(path: Path) -> None:
    """Over a restart, with records that were added at the same time; only the owner can read it."""
    verdict = verify(path)
    assert (verdict.records, verdict.fault) == (10, "")
    assert [one["name"] for one in records_of(path)] == [f"/n/{number}" for number in range(1, 11)]
    assert verdict.head == list(records_of(path))[-1]["hash"] != GENESIS
    assert path.stat().st_mode & 0o077 == 0


def change(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


async def test_many_writers_share_writes(tmp_path: Path) -> None:
    """None waits for ever, none is lost, the order is that of their numbers."""
    async with AuditLog(tmp_path / "audit.log") as log:

        async def write(start: int) -> None:
            for number in range(20):
                await log.add(record(start + number))

        await asyncio.gather(*(write(1000 * writer) for writer in range(1, 9)))
    assert (verify(log.path).records, verify(log.path).fault) == (160, "")


def changed(line: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(line), **fields}, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [*lines[:4], changed(lines[4], principal="mallory"), *lines[5:]],
        lambda lines: [*lines[:4], changed(lines[4], result="refused"), *lines[5:]],
        lambda lines: [*lines[:4], *lines[5:]],
        lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
        lambda lines: [*lines[:5], lines[4], *lines[5:]],
        lambda lines: lines[1:],
        lambda lines: [*lines[:9], lines[9][:-20] + b"\n"],
        lambda lines: [*lines[:4], changed(lines[4], added="x"), *lines[5:]],
    ],
    ids=["who", "what", "removed", "moved", "repeated", "begun later", "cut line", "a field more"],
)
def test_whatever_was_changed_shows(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    """And where."""
    change(path, edit)
    verdict = verify(path)
    assert verdict.fault.startswith("line ")
    assert verdict.records < 10


async def test_a_torn_last_line_is_dropped_at_the_next_start(path: Path) -> None:
    """It was confirmed to nobody; the chain goes on before it."""
    change(path, lambda lines: [*lines, b'{"seq": 11, "at"'])
    async with AuditLog(path) as log:
        assert log.last_revision == 10
        await log.add(record(11))
    assert (verify(path).records, verify(path).fault) == (11, "")


async def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    """Nothing is appended to it."""
    path = tmp_path / "audit.log"
    path.write_text("something else\n")
    with pytest.raises(AuditLogError, match="line 1 is no audit record"):
        await AuditLog(path).__aenter__()
    assert path.read_text() == "something else\n"


async def test_a_full_disk_refuses_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written first when there is room; the chain has no gap."""
    path = tmp_path / "audit.log"
    write = os.write
    async with AuditLog(path) as log:
        await log.add(record(1))

        def half(descriptor: int, data: bytes) -> int:
            if len(data) < 40:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(ResourceExhaustedError, match="nothing is done unaudited"):
            await log.add(record(2))
        with pytest.raises(ResourceExhaustedError):
            await log.ready()
        monkeypatch.undo()
        await log.ready()
        await log.add(record(3))
    assert [one["revision"] for one in records_of(path)] == [1, 2, 3]
    assert verify(path).fault == ""


async def test_changes_of_a_killed_process_are_audited_at_the_start(tmp_path: Path) -> None:
    """Their author lies with the version; a new log begins at the revision the store has."""
    store = MemoryStore()
    await put(store, "/before")
    async with AuditLog(tmp_path / "audit.log") as log:
        await note_unaudited(store, log)
        await put(store, "/a")
        await store.delete("/a")
        await note_unaudited(store, log)
        await note_unaudited(store, log)
    shown = [(one["action"], one["name"], one["principal"], one["revision"]) for one in records_of(log.path)]
    assert shown == [("begin", "/", "", 1), ("write", "/a", "alice", 2), ("delete", "/a", "", 3)]


async def test_a_full_file_is_put_aside_and_the_chain_goes_on(tmp_path: Path) -> None:
    """Over restarts, also where the new file is empty; a file that is changed or gone shows."""
    path = tmp_path / "audit.log"
    for numbers in (range(1, 6), range(6, 11), range(11, 13)):
        async with AuditLog(path, max_bytes=1000) as log:
            assert log.last_revision == numbers[0] - 1
            for number in numbers:
                await log.add(record(number), AuditRecord(principal="bob", action="decrypt", name="/s"))
    files = files_of(path)
    assert len(files) > 3
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    records = list(records_of(path))
    assert (verify(path).records, verify(path).fault) == (len(records), "")
    assert [one["seq"] for one in records] == list(range(1, len(records) + 1))
    assert len([one for one in records if one["action"] != "continue"]) == 24
    assert all(lines_of(file)[0]["action"] == "continue" for file in files[1:] if file.stat().st_size)
    kept = files[1].read_bytes()
    files[1].write_bytes(kept.replace(b'"revision": ', b'"revision": 9', 1))
    assert verify(path).fault == f"line 1 of {files[1].name} was changed, or one before it removed"
    files[1].unlink()
    assert "lines were removed" in verify(path).fault
    files[1].write_bytes(kept)
    files[0].unlink()
    assert "older files moved away" in verify(path).fault


async def test_a_process_killed_between_two_files_goes_on(tmp_path: Path) -> None:
    """The full file is put aside, the next one is not there yet."""
    path = tmp_path / "audit.log"
    async with AuditLog(path, max_bytes=1) as log:
        await log.add(record(7))
    path.rename(path.with_name("audit.log.next"))
    async with AuditLog(path) as log:
        assert log.last_revision == 7
        await log.add(record(8))
    assert [one["revision"] for one in records_of(path)] == [7, 7, 8]
    assert (verify(path).records, verify(path).fault) == (3, "")


async def test_a_file_that_cannot_be_put_aside_grows_on(tmp_path: Path) -> None:
    """What was written is confirmed, nothing is lost."""
    path = tmp_path / "audit.log"
    (tmp_path / "audit.log.next").mkdir()
    async with AuditLog(path, max_bytes=1) as log:
        for number in (1, 2):
            await log.add(record(number))
        (tmp_path / "audit.log.next").rmdir()
        await log.add(record(3))
    assert len(files_of(path)) == 2
    assert (verify(path).records, verify(path).fault) == (3, "")


@pytest.mark.parametrize("failing", ["audit.log", "audit.log.next"], ids=["the full file", "the next one"])
async def test_a_file_that_cannot_be_renamed_costs_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Whichever rename fails: nothing is lost, a torn line is dropped at the start, a later write puts it aside."""
    path = tmp_path / "audit.log"
    rename = Path.rename

    def refuse(file: Path, target: Path) -> Path:
        if file.name == failing:
            raise OSError(errno.EACCES, "Permission denied")
        return rename(file, target)

    monkeypatch.setattr(Path, "rename", refuse)
    async with AuditLog(path, max_bytes=1) as log:
        await log.add(record(1))
        before = open_files()
        for number in range(2, 52):
            await log.add(record(number))
        assert open_files() == before
    full = next(file for file in files_of(path) if file.exists())
    with full.open("ab") as torn:
        torn.write(b'{"seq": 52, "at"')
    monkeypatch.undo()
    async with AuditLog(path, max_bytes=1) as log:
        assert log.last_revision == 51
        await log.add(record(52))
    assert verify(path).fault == ""
    assert [one["revision"] for one in records_of(path) if one["action"] == "write"] == list(range(1, 53))


async def test_a_rename_that_comes_to_work_puts_aside_the_full_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own number, in the same process; also where the folder cannot be synchronised."""
    path = tmp_path / "audit.log"
    rename = Path.rename

    def refuse(file: Path, target: Path) -> Path:
        if file.name == "audit.log.next":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(file, target)

    def unsynchronised(_folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with AuditLog(path, max_bytes=1) as log:
        monkeypatch.setattr(Path, "rename", refuse)
        await log.add(record(1))
        monkeypatch.undo()
        monkeypatch.setattr(audit, "_sync_directory", unsynchronised)
        await log.add(record(2))
        await log.add(record(3))
    assert [file.name for file in files_of(path)] == ["audit.log.000000000002", "audit.log.000000000004", "audit.log"]
    assert (verify(path).records, verify(path).fault) == (4, "")


def test_a_log_whose_files_change_while_it_is_checked_is_intact(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full file is put aside after the files were listed; a line that is being written is not looked at."""
    aside = path.with_name("audit.log.000000000010")
    full = path.read_bytes()
    path.rename(aside)
    asyncio.run(one_more(path, record(11)))
    following = path.read_bytes() + b'{"seq": 13, "at"'
    path.write_bytes(full)
    aside.unlink()

    def listed(of: Path) -> list[Path]:
        names = files_of(of)
        if not aside.exists():
            path.rename(aside)
            path.write_bytes(following)
        return names

    monkeypatch.setattr(audit, "files_of", listed)
    verdict = verify(path)
    assert (verdict.records, verdict.fault) == (12, "")


async def one_more(path: Path, added: AuditRecord) -> None:
    async with AuditLog(path) as log:
        await log.add(added)


async def test_a_start_reads_no_further_back_than_one_file(tmp_path: Path) -> None:
    """A new file begins with the highest revision of all before it, also where its own records have none."""
    path, read = tmp_path / "audit.log", AuditRecord(principal="bob", action="decrypt", name="/s")
    async with AuditLog(path, max_bytes=1) as log:
        await log.add(record(7))
        await log.add(read)
    files_of(path)[0].write_text("not to be read\n")
    async with AuditLog(path) as log:
        assert log.last_revision == 7


async def test_a_change_out_of_order_is_not_audited_twice(tmp_path: Path) -> None:
    """The record of the newest change is in the older file."""
    store = MemoryStore()
    await put(store, "/a")
    await put(store, "/b")
    async with AuditLog(tmp_path / "audit.log", max_bytes=1) as log:
        await log.add(record(2))
        await log.add(record(1))
    async with AuditLog(log.path) as log:
        await note_unaudited(store, log)
    assert [(one["action"], one["revision"]) for one in records_of(log.path)] == [
        ("write", 2),
        ("continue", 2),
        ("write", 1),
    ]


async def test_a_file_of_reads_alone_goes_on_from_the_last_change(tmp_path: Path) -> None:
    """The newest record is in the newest file, the newest revision in an older one."""
    path, read = tmp_path / "audit.log", AuditRecord(principal="bob", action="decrypt", name="/s")
    async with AuditLog(path, max_bytes=1) as log:
        await log.add(record(7))
    for _ in range(2):
        async with AuditLog(path) as log:
            assert log.last_revision == 7
            await log.add(read)
    assert len(files_of(path)) == 2
    assert (verify(path).records, verify(path).fault) == (4, "")
