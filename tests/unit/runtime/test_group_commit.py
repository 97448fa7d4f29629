"""Writes in groups: what callers hear, when, and what they hear when the disk fails."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.runtime.errors import InternalError, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.runtime.group_commit import Group, GroupCommit


class Words:
    """A file of words. `bad` is refused, the empty one writes no row, `fault` is raised after the rows are written."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT)")
        self.groups: list[list[str]] = []
        self.fault: Exception | None = None
        self.before_fault: Callable[[], object] = lambda: None

    def write(self, newest: int, words: Sequence[str]) -> Group[int]:
        self.groups.append(list(words))
        results: list[int | Exception] = []
        for word in words:
            if word == "bad":
                results.append(InvalidArgumentError("bad"))
                continue
            if word:
                newest += 1
                self.connection.execute("INSERT INTO words VALUES (?, ?)", (newest, word))
            results.append(newest)
        if self.fault:
            self.before_fault()
            raise self.fault
        return Group(results=results, newest=newest)

    def stored(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT word FROM words ORDER BY id")]


@pytest.fixture
def words(tmp_path: Path) -> Words:
    return Words(tmp_path / "words.sqlite3")


@asynccontextmanager
async def writer(
    words: Words,
    *,
    max_group: int = 1000,
    max_waiting: int = 1000,
    on_commit: Callable[[Sequence[int | Exception]], None] = lambda _results: None,
    on_trouble: Callable[[str], None] = lambda _text: None,
) -> AsyncIterator[GroupCommit[str, int]]:
    made: GroupCommit[str, int] = GroupCommit(
        words.connection,
        path=Path("words.sqlite3"),
        newest="SELECT coalesce(max(id), 0) FROM words",
        write=words.write,
        on_commit=on_commit,
        on_trouble=on_trouble,
        max_group=max_group,
        max_waiting=max_waiting,
    )
    try:
        yield made
    finally:
        await made.close()


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the disk said so")
    error.sqlite_errorcode = code
    error.sqlite_errorname = str(code)
    return error


class Held:
    """Holds the first commit until `go_on` is set."""

    def __init__(self, words: Words) -> None:
        self.committing, self.go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold(statement: str) -> None:
            if statement == "COMMIT":
                loop.call_soon_threadsafe(self.committing.set)
                self.go_on.wait()

        words.connection.set_trace_callback(hold)


async def test_every_caller_gets_its_own_answer(words: Words) -> None:
    """A refused item is an error for its caller alone."""
    async with writer(words) as groups:
        first, refused, last = await asyncio.gather(
            *(groups.run(word) for word in ("a", "bad", "b")), return_exceptions=True
        )
        assert (first, last) == (1, 2)
        assert isinstance(refused, InvalidArgumentError)
        assert words.stored() == ["a", "b"]


async def test_what_waits_during_a_commit_is_the_next_group(words: Words) -> None:
    """One fsync for all of them, in the order they came."""
    held = Held(words)
    async with writer(words) as groups:
        waiting = [asyncio.ensure_future(groups.run("first"))]
        await held.committing.wait()
        waiting += [asyncio.ensure_future(groups.run(str(number))) for number in range(50)]
        await asyncio.sleep(0)
        held.go_on.set()
        assert await asyncio.gather(*waiting) == list(range(1, 52))
        assert words.groups == [["first"], [str(number) for number in range(50)]]


async def test_a_full_group_leaves_the_rest_to_the_next(words: Words) -> None:
    """By weight: the last one may exceed it."""
    held = Held(words)
    async with writer(words, max_group=4) as groups:
        waiting = [asyncio.ensure_future(groups.run("first"))]
        await held.committing.wait()
        waiting += [asyncio.ensure_future(groups.run(word, weight=3)) for word in "abc"]
        await asyncio.sleep(0)
        held.go_on.set()
        await asyncio.gather(*waiting)
        assert words.groups == [["first"], ["a", "b"], ["c"]]


async def test_nobody_hears_of_a_write_before_its_commit(words: Words) -> None:
    """Neither the caller nor the listener; then the listener first."""
    held, heard = Held(words), []
    async with writer(words, on_commit=lambda results: heard.append(("commit", *results))) as groups:
        waiting = asyncio.ensure_future(groups.run("a"))
        waiting.add_done_callback(lambda done: heard.append(("caller", done.result())))
        await held.committing.wait()
        await asyncio.to_thread(lambda: None)  # takes turns of the loop, in which an early answer would come
        before = list(heard)
        held.go_on.set()
        await waiting
        await asyncio.sleep(0)
        assert (before, heard) == ([], [("commit", 1), ("caller", 1)])


async def test_a_listener_that_fails_keeps_no_caller_waiting(words: Words) -> None:
    """Its fault goes to the loop's handler."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context["exception"]))

    def fail(_results: Sequence[int | Exception]) -> None:
        raise OSError("nobody expected this")

    try:
        async with writer(words, on_commit=fail) as groups:
            assert await groups.run("a") == 1
    finally:
        asyncio.get_running_loop().set_exception_handler(None)
    assert [type(fault) for fault in faults] == [OSError]


async def test_more_than_may_wait_is_refused(words: Words) -> None:
    """With a pause to make; what is heavier than the bound is taken alone."""
    held = Held(words)
    async with writer(words, max_waiting=10) as groups:
        heavy = asyncio.ensure_future(groups.run("heavy", weight=20))
        await held.committing.wait()
        with pytest.raises(ResourceExhaustedError, match=r"20 writes to words.sqlite3 wait, at most 10") as caught:
            await groups.run("late")
        assert caught.value.reason == "ERROR_REASON_OVERLOADED"
        assert caught.value.retry_after
        held.go_on.set()
        assert await heavy == 1
        assert await groups.run("again", weight=10) == 2


async def test_a_caller_that_goes_away_counts_until_its_write_is_done(words: Words) -> None:
    """Otherwise callers that give up and come again could fill the memory."""
    held = Held(words)
    async with writer(words, max_waiting=1) as groups:
        gone = asyncio.ensure_future(groups.run("gone"))
        await held.committing.wait()
        gone.cancel()
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhaustedError):
            await groups.run("early")
        held.go_on.set()
        await groups.close()
        assert groups._waiting == 0
        assert words.stored() == ["gone"]


async def test_closing_commits_what_waits_and_refuses_the_rest(words: Words) -> None:
    """Whoever was let in has an answer."""
    async with writer(words) as groups:
        waiting = [asyncio.ensure_future(groups.run(str(number))) for number in range(30)]
        await asyncio.sleep(0)
    assert [await task for task in waiting] == list(range(1, 31))
    with pytest.raises(UnavailableError, match="closing") as caught:
        await groups.run("late")
    assert caught.value.reason == "ERROR_REASON_DRAINING"


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE], ids=str
)
async def test_without_room_a_group_is_refused_and_leaves_nothing(words: Words, code: int) -> None:
    """Told once; what writes nothing does not end the trouble, the next write does."""
    troubles: list[str] = []
    async with writer(words, on_trouble=troubles.append) as groups:
        words.fault = sqlite_error(code)
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match="no room to grow") as caught:
                await groups.run("a")
        assert caught.value.reason == "ERROR_REASON_STORAGE_FULL"
        assert caught.value.metadata == {"path": "words.sqlite3"}
        words.fault = None
        assert await groups.run("") == 0
        assert [bool(text) for text in troubles] == [True]
        assert await groups.run("b") == 1
        assert [bool(text) for text in troubles] == [True, False]
        assert words.stored() == ["b"]


@pytest.mark.parametrize(
    "fault",
    [sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), sqlite_error(sqlite3.SQLITE_CORRUPT), KeyError("a bug")],
    ids=["failed fsync", "damaged file", "bug"],
)
async def test_any_other_failure_is_the_last(words: Words, fault: Exception) -> None:
    """Also when writing would work again: nobody knows what is on disk. Who waits for failures hears of it."""
    async with writer(words) as groups:
        await groups.run("a")
        words.fault = fault
        with pytest.raises(InternalError, match=r"words.sqlite3 failed: .*restart the service"):
            await groups.run("b")
        words.fault = None
        with pytest.raises(UnavailableError, match="failed"):
            await groups.run("c")
        with pytest.raises(InternalError):
            await groups.failed()
        assert words.stored() == ["a"]


async def test_what_waits_behind_a_failure_is_not_written(words: Words) -> None:
    """Its callers hear the same."""
    held = Held(words)
    async with writer(words, max_group=1) as groups:
        waiting = [asyncio.ensure_future(groups.run("a"))]
        await held.committing.wait()
        waiting += [asyncio.ensure_future(groups.run(word)) for word in "bc"]
        await asyncio.sleep(0)
        words.fault = sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)
        held.go_on.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [int, InternalError, InternalError]
        assert words.groups == [["a"], ["b"]]


async def test_a_refused_group_that_left_something_is_the_last(words: Words) -> None:
    """The disk said that it is full, and yet the rows are there: what it says cannot be relied on."""
    async with writer(words) as groups:
        words.fault = sqlite_error(sqlite3.SQLITE_FULL)
        words.before_fault = lambda: words.connection.execute("COMMIT")
        with pytest.raises(InternalError):
            await groups.run("a")
        with pytest.raises(UnavailableError):
            await groups.run("b")
