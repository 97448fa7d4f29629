"""`make bench-config`: parameters against etcd by gRPC and moto's SSM by boto3, and reads from the client's memory.

Ours is the whole service on SQLite with full sync, etcd one member with its own fsync. Both are called by the same
grpc.aio client; moto and our SSM endpoint by the same boto3 client.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from penstock.client import AsyncConfigClient

from bench.config_place import Setting, setting
from bench.config_rounds import gets, lists, pushes, puts, reads, ssm_gets, ssm_lists, staleness
from bench.measure import (
    Comparison,
    Limit,
    Machine,
    Measurement,
    Sample,
    Side,
    Subject,
    compare,
    compare_all,
    print_progress,
)
from bench.report import publish

WATCHERS = 200

SUBJECTS = {
    "get_vs_moto": Subject(
        key="get_vs_moto", what="boto3 GetParameter, ours against moto's server", unit="calls/s", floor=4.0
    ),
    "by_path_vs_moto": Subject(
        key="by_path_vs_moto",
        what="boto3 GetParametersByPath of 100 parameters in 10 pages, ours against moto's server",
        unit="lists/s",
        floor=8.0,
    ),
    "get_vs_canned": Subject(
        key="get_vs_canned",
        what="boto3 GetParameter, ours against an endpoint that has the answers in memory as bytes",
        unit="calls/s",
        floor=None,
    ),
    "by_path_vs_canned": Subject(
        key="by_path_vs_canned",
        what="boto3 GetParametersByPath of 100 parameters in 10 pages, ours against such an endpoint",
        unit="lists/s",
        floor=None,
    ),
    "watch_vs_etcd": Subject(
        key="watch_vs_etcd",
        what="time from a durable put until its watcher has it, median, against etcd",
        unit="changes/s",
        floor=1.25,
        of_times=True,
    ),
    "fanout_vs_etcd": Subject(
        key="fanout_vs_etcd",
        what=f"time from a durable put until the last of {WATCHERS} watchers has it, median, against etcd",
        unit="changes/s",
        floor=1.5,
        of_times=True,
    ),
    "watch_floor_vs_etcd": Subject(
        key="watch_floor_vs_etcd",
        what="the same as watch_vs_etcd by a bare grpc.aio server, which stores nothing",
        unit="changes/s",
        floor=None,
        of_times=True,
    ),
    "fanout_floor_vs_etcd": Subject(
        key="fanout_floor_vs_etcd",
        what="the same as fanout_vs_etcd by a bare grpc.aio server, which stores nothing",
        unit="changes/s",
        floor=None,
        of_times=True,
    ),
    "get_vs_etcd": Subject(key="get_vs_etcd", what="gRPC get, one after the other", unit="calls/s", floor=None),
    "put_vs_etcd": Subject(key="put_vs_etcd", what="durable put, one after the other", unit="calls/s", floor=None),
    "list100_vs_etcd": Subject(
        key="list100_vs_etcd", what="gRPC list of 100, one after the other", unit="lists/s", floor=None
    ),
    "cached_get_vs_powertools": Subject(
        key="cached_get_vs_powertools",
        what="read from the client's memory against powertools' parameters utility with its cache warm",
        unit="reads/s",
        floor=10.0,
    ),
}
CACHED = Limit(key="cached_get_us", what="read from the client's memory", unit="µs", ceiling=2.0)
NOTES = (
    "ours: gRPC API and SSM endpoint of `services.config` on SQLite, synchronous=FULL; values of 200 bytes",
    "etcd: one member of Debian's etcd-server on the same disk, fsync on; the same plain grpc.aio client",
    "the bare server writes each put to the streams of its watchers and does nothing else: the least of grpc.aio",
    "CPU in the boto3 rows is boto3's own: no server, however fast, could bring a call below it",
    "a ratio against moto divided by that against canned answers is the most that any server could reach here",
    "client, ours and the peer share the CPUs; the 200 watchers are streams of one client on one connection",
)


async def main() -> int:
    """Measure and publish. The exit code says nothing of the ratios: the results do."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, Machine() as machine:
        async with setting(Path(directory)) as place:
            comparisons = await compared(place)
            stale = await staleness(place.address)
    (cached,) = (one for one in comparisons if one.subject.key == "cached_get_vs_powertools")
    microseconds = [sample.seconds * 1e6 / sample.work for sample in cached.ours]
    measurements = (stale, Measurement(limit=CACHED, values=microseconds))
    publish("config", comparisons, machine.figures(), NOTES, measurements)
    return 0


async def compared(place: Setting) -> list[Comparison]:
    """Every subject in turn."""
    done = [
        await _compare("get_vs_etcd", lambda: gets(place.ours), lambda: gets(place.etcd)),
        await _compare("put_vs_etcd", lambda: puts(place.ours), lambda: puts(place.etcd)),
        await _compare("list100_vs_etcd", lambda: lists(place.ours), lambda: lists(place.etcd)),
    ]
    for what, count, changes in (("watch", 1, 60), ("fanout", WATCHERS, 10)):
        ours = partial(pushes, place.ours, await place.watchers("ours", count), changes)
        bare = partial(pushes, place.bare, await place.watchers("bare", count), changes)
        etcd = partial(pushes, place.etcd, await place.watchers("etcd", count), changes)
        done.append(await _compare(f"{what}_vs_etcd", ours, etcd))
        done.append(await _compare(f"{what}_floor_vs_etcd", bare, etcd))
    for call, measure in (("get", ssm_gets), ("by_path", ssm_lists)):
        peers = [
            (SUBJECTS[f"{call}_vs_moto"], _blocking(measure, place.moto)),
            (SUBJECTS[f"{call}_vs_canned"], _blocking(measure, place.canned)),
        ]
        done += await compare_all(peers, ours=_blocking(measure, place.our_ssm), progress=print_progress)
    async with AsyncConfigClient(place.address, ["/bench"]) as config:
        cached = partial(config.get, "/bench/one")
        theirs = partial(place.powertools.get, "/bench/one", max_age=3600)
        memory, peer = _blocking(reads, cached, 200_000), _blocking(reads, theirs, 5_000)
        done.append(await _compare("cached_get_vs_powertools", memory, peer))
    return done


async def _compare(key: str, ours: Side, peer: Side) -> Comparison:
    return await compare(SUBJECTS[key], ours=ours, peer=peer, progress=print_progress)


def _blocking(measure: Callable[..., Sample], *arguments: object) -> Side:
    async def side() -> Sample:
        return measure(*arguments)  # nothing else runs on this loop meanwhile

    return side


if __name__ == "__main__":
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "ERROR")
    sys.exit(asyncio.run(main()))
