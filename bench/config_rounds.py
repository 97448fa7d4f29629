"""One round of one side of the config bench; each checks its answers, outside the time it measures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median, quantiles
from typing import Any

from penstock.client import AsyncConfigClient

from bench.config_place import VALUE, many_names
from bench.config_stores import Store
from bench.measure import Limit, Measurement, Sample

STALENESS = Limit(
    key="staleness_p99_ms",
    what="time after a put is answered until a client's memory has its value, 99th percentile",
    unit="ms",
    ceiling=50.0,
)


async def gets(store: Store) -> Sample:
    started = time.perf_counter()
    values = [await store.get("/bench/one") for _ in range(300)]
    seconds = time.perf_counter() - started
    _check(values, [VALUE] * 300)
    return Sample(work=300, seconds=seconds)


async def puts(store: Store) -> Sample:
    started = time.perf_counter()
    for number in range(100):
        await store.put("/bench/written", f"{number}{VALUE}")
    seconds = time.perf_counter() - started
    _check([await store.get("/bench/written")], [f"99{VALUE}"])
    return Sample(work=100, seconds=seconds)


async def lists(store: Store) -> Sample:
    started = time.perf_counter()
    found = [await store.names("/bench/many") for _ in range(50)]
    seconds = time.perf_counter() - started
    _check(found, [many_names()] * 50)
    return Sample(work=50, seconds=seconds)


async def pushes(store: Store, watchers: Sequence[Callable[[], Awaitable[str]]], changes: int) -> Sample:
    """One change after the other, each until the last watcher has it; the sample is the median of them."""
    times = []
    for number in range(changes):
        wanted = f"{time.monotonic_ns()}-{number}-{VALUE}"
        started = time.perf_counter()
        *_, values = await asyncio.gather(store.put("/bench/pushed/a", wanted), _all(watchers))
        times.append(values[1] - started)
        _check(values[0], [wanted] * len(watchers))
    return Sample(work=1, seconds=median(times))


async def _all(watchers: Sequence[Callable[[], Awaitable[str]]]) -> tuple[Sequence[str], float]:
    values = await asyncio.gather(*(watcher() for watcher in watchers))
    return values, time.perf_counter()


def ssm_gets(client: Any) -> Sample:
    started, cpu = time.perf_counter(), time.process_time()
    values = [client.get_parameter(Name="/bench/one")["Parameter"]["Value"] for _ in range(60)]
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    _check(values, [VALUE] * 60)
    return Sample(work=60, seconds=seconds, cpu_seconds=cpu_seconds)


def ssm_lists(client: Any) -> Sample:
    pages = client.get_paginator("get_parameters_by_path")
    started, cpu = time.perf_counter(), time.process_time()
    found = [
        [one["Name"] for page in pages.paginate(Path="/bench/many") for one in page["Parameters"]] for _ in range(3)
    ]
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    _check([sorted(names) for names in found], [many_names()] * 3)
    return Sample(work=3, seconds=seconds, cpu_seconds=cpu_seconds)


def reads(read: Callable[[], object], times: int) -> Sample:
    started = time.perf_counter()
    for _ in range(times):
        read()
    seconds = time.perf_counter() - started
    _check([read()], [VALUE])
    return Sample(work=times, seconds=seconds)


def _seen(wanted: str, seen: asyncio.Event, value: str | None) -> None:
    if value == wanted:
        seen.set()


async def staleness(address: str) -> Measurement:
    """How long after the answer to its put a client may still read the old value."""
    late = []
    async with AsyncConfigClient(address, ["/bench/stale"]) as config:
        for number in range(500):
            wanted, seen = f"{number}-{VALUE}", asyncio.Event()
            end = config.watch("/bench/stale/a", partial(_seen, wanted, seen), str)
            await config.put("/bench/stale/a", wanted)
            answered = time.perf_counter()
            await seen.wait()
            late.append(time.perf_counter() - answered)
            end()
    rounds = [late[start : start + 100] for start in range(0, len(late), 100)]
    return Measurement(limit=STALENESS, values=[quantiles(one, n=100)[98] * 1000 for one in rounds])


def _check(found: Sequence[object], wanted: Sequence[object]) -> None:
    if list(found) != list(wanted):
        raise RuntimeError("the answers are not those that were expected")
