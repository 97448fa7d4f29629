"""`make bench-config`: parameters against etcd by gRPC and moto's SSM by boto3, and reads from the client's memory.

Ours is the whole service on SQLite with full sync, etcd one member with its own fsync. Both are called by the same
grpc.aio client; moto and our SSM endpoint by the same boto3 client.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Protocol

import boto3
import grpc
from aws_lambda_powertools.utilities.parameters import SSMProvider
from botocore.config import Config
from penstock.client import AsyncConfigClient
from penstock.config.v1 import config_service_pb2 as api
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub

from bench.canned_ssm import canned_part
from bench.etcd import etcd_api, etcd_part
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
from deploy.local.emulator import emulator_part
from deploy.local.part import PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor

WATCHERS = 200
_CHANNELS = 1  # the watchers of a client share its connection, as gRPC has it
_VALUE = "x" * 200
_LISTED = 100

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
STALENESS = Limit(
    key="staleness_p99_ms",
    what="time after a put is answered until a client's memory has its value, 99th percentile",
    unit="ms",
    ceiling=50.0,
)
CACHED = Limit(key="cached_get_us", what="read from the client's memory", unit="µs", ceiling=2.0)
NOTES = (
    "ours: gRPC API and SSM endpoint of `services.config` on SQLite, synchronous=FULL; values of 200 bytes",
    "etcd: one member of Debian's etcd-server on the same disk, fsync on; the same plain grpc.aio client",
    "CPU in the boto3 rows is boto3's own: no server, however fast, could bring a call below it",
    "a ratio against moto divided by that against canned answers is the most that any server could reach here",
    "client, ours and the peer share the CPUs; the 200 watchers are streams of one client on one connection",
)


class Store(Protocol):
    """What both servers can do, for the one client that measures them."""

    async def put(self, name: str, value: str) -> None: ...
    async def get(self, name: str) -> str: ...
    async def names(self, path: str) -> Sequence[str]: ...
    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        """A watch that is established; each call waits for the next value."""


class Penstock:
    """Ours."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = ConfigServiceStub(channel)

    async def put(self, name: str, value: str) -> None:
        await self._stub.PutParameter(api.PutParameterRequest(name=name, value=value))

    async def get(self, name: str) -> str:
        return (await self._stub.GetParameter(api.GetParameterRequest(name=name))).parameter.value

    async def names(self, path: str) -> Sequence[str]:
        listed = await self._stub.ListParameters(api.ListParametersRequest(path=path, page_size=1000))
        return [parameter.name for parameter in listed.parameters]

    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        call: Any = ConfigServiceStub(channel).WatchParameters(api.WatchParametersRequest(path=path))
        while (await call.read()).WhichOneof("event") != "bookmark":
            pass

        async def value() -> str:
            while True:
                response = await call.read()
                if response.WhichOneof("event") == "put":
                    found: str = response.put.parameter.value
                    return found

        return value


class Etcd:
    """The peer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._messages: Any
        self._stubs: Any
        self._messages, self._stubs = etcd_api()
        self._kv = self._stubs.KVStub(channel)

    async def put(self, name: str, value: str) -> None:
        await self._kv.Put(self._messages.PutRequest(key=name.encode(), value=value.encode()))

    async def get(self, name: str) -> str:
        found: str = (await self._kv.Range(self._messages.RangeRequest(key=name.encode()))).kvs[0].value.decode()
        return found

    async def names(self, path: str) -> Sequence[str]:
        request = self._messages.RangeRequest(key=f"{path}/".encode(), range_end=f"{path}0".encode())
        return [kv.key.decode() for kv in (await self._kv.Range(request)).kvs]

    async def watch(self, path: str, channel: grpc.aio.Channel) -> Callable[[], Awaitable[str]]:
        call = self._stubs.WatchStub(channel).Watch()
        create = self._messages.WatchCreateRequest(key=f"{path}/".encode(), range_end=f"{path}0".encode())
        await call.write(self._messages.WatchRequest(create_request=create))
        while not (await call.read()).created:
            pass

        async def value() -> str:
            while True:
                for event in (await call.read()).events:
                    found: str = event.kv.value.decode()
                    return found

        return value


async def gets(store: Store) -> Sample:
    started = time.perf_counter()
    values = [await store.get("/bench/one") for _ in range(300)]
    seconds = time.perf_counter() - started
    _check(values, [_VALUE] * 300)
    return Sample(work=300, seconds=seconds)


async def puts(store: Store) -> Sample:
    started = time.perf_counter()
    for number in range(100):
        await store.put("/bench/written", f"{number}{_VALUE}")
    seconds = time.perf_counter() - started
    _check([await store.get("/bench/written")], [f"99{_VALUE}"])
    return Sample(work=100, seconds=seconds)


async def lists(store: Store) -> Sample:
    started = time.perf_counter()
    found = [await store.names("/bench/many") for _ in range(50)]
    seconds = time.perf_counter() - started
    _check(found, [_many()] * 50)
    return Sample(work=50, seconds=seconds)


async def pushes(store: Store, watchers: Sequence[Callable[[], Awaitable[str]]], changes: int) -> Sample:
    """One change after the other, each until the last watcher has it; the sample is the median of them."""
    times = []
    for number in range(changes):
        wanted = f"{time.monotonic_ns()}-{number}-{_VALUE}"
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
    _check(values, [_VALUE] * 60)
    return Sample(work=60, seconds=seconds, cpu_seconds=cpu_seconds)


def ssm_lists(client: Any) -> Sample:
    pages = client.get_paginator("get_parameters_by_path")
    started, cpu = time.perf_counter(), time.process_time()
    found = [
        [one["Name"] for page in pages.paginate(Path="/bench/many") for one in page["Parameters"]] for _ in range(3)
    ]
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    _check([sorted(names) for names in found], [_many()] * 3)
    return Sample(work=3, seconds=seconds, cpu_seconds=cpu_seconds)


def reads(read: Callable[[], object], times: int) -> Sample:
    started = time.perf_counter()
    for _ in range(times):
        read()
    seconds = time.perf_counter() - started
    _check([read()], [_VALUE])
    return Sample(work=times, seconds=seconds)


def _seen(wanted: str, seen: asyncio.Event, value: str | None) -> None:
    if value == wanted:
        seen.set()


async def staleness(address: str) -> Measurement:
    """How long after the answer to its put a client may still read the old value."""
    late = []
    async with AsyncConfigClient(address, ["/bench/stale"]) as config:
        for number in range(500):
            wanted, seen = f"{number}-{_VALUE}", asyncio.Event()
            end = config.watch("/bench/stale/a", partial(_seen, wanted, seen), str)
            await config.put("/bench/stale/a", wanted)
            answered = time.perf_counter()
            await seen.wait()
            late.append(time.perf_counter() - answered)
            end()
    rounds = [late[start : start + 100] for start in range(0, len(late), 100)]
    return Measurement(limit=STALENESS, values=[quantiles(one, n=100)[98] * 1000 for one in rounds])


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Both sides of everything, filled alike."""

    address: str
    ours: Store
    etcd: Store
    our_ssm: Any
    moto: Any
    canned: Any
    powertools: SSMProvider
    channels: Mapping[str, Sequence[grpc.aio.Channel]]

    async def watchers(self, side: str, count: int) -> Sequence[Callable[[], Awaitable[str]]]:
        store, channels = (self.ours if side == "ours" else self.etcd), self.channels[side]
        return [await store.watch("/bench/pushed", channels[number % _CHANNELS]) for number in range(count)]


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
    for key, count, changes in (("watch_vs_etcd", 1, 60), ("fanout_vs_etcd", WATCHERS, 10)):
        ours = partial(pushes, place.ours, await place.watchers("ours", count), changes)
        etcd = partial(pushes, place.etcd, await place.watchers("etcd", count), changes)
        done.append(await _compare(key, ours, etcd))
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


@asynccontextmanager
async def setting(directory: Path) -> AsyncIterator[Setting]:
    """Config, etcd and moto as processes of their own, each with the same parameters."""
    ports = free_port_numbers(6)
    specs = describe(directory, ports)
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(
            Supervisor(working_directory=directory, log_directory=directory / "logs")
        )
        for spec in specs:
            supervisor.add(spec)
            await supervisor.start(spec.name)
        config, etcd, moto, canned = specs
        channels = {
            name: [await stack.enter_async_context(_channel(spec.addresses["grpc"])) for _ in range(_CHANNELS)]
            for name, spec in (("ours", config), ("etcd", etcd))
        }
        place = Setting(
            address=config.addresses["grpc"],
            ours=Penstock(channels["ours"][0]),
            etcd=Etcd(channels["etcd"][0]),
            our_ssm=_ssm(f"http://127.0.0.1:{ports[1]}"),
            moto=_ssm(f"http://{moto.addresses['http']}"),
            canned=_ssm(f"http://{canned.addresses['http']}"),
            powertools=SSMProvider(boto3_client=_ssm(f"http://{moto.addresses['http']}")),
            channels=channels,
        )
        await fill(place)
        yield place


async def fill(place: Setting) -> None:
    """The parameters that are read."""
    for name in ("/bench/one", *_many()):
        await place.ours.put(name, _VALUE)
        await place.etcd.put(name, _VALUE)
        place.moto.put_parameter(Name=name, Value=_VALUE, Type="String")


def describe(directory: Path, ports: Sequence[int]) -> Sequence[PartSpec]:
    """The processes, ours first."""
    grpc_port, ssm_port, etcd_port, etcd_peer_port, moto_port, canned_port = ports
    environment = {
        "PENSTOCK_CONFIG_PORT": str(grpc_port),
        "PENSTOCK_CONFIG_METRICS_PORT": "0",
        "PENSTOCK_CONFIG_SSM_PORT": str(ssm_port),
        "PENSTOCK_CONFIG_DATABASE": str(directory / "config" / "parameters.sqlite3"),
        "PENSTOCK_CONFIG_KEY_FILE": str(directory / "config" / "secret.key"),
    }
    return (
        python_process(
            "config",
            "services.config",
            environment=environment,
            data_directory=directory / "config",
            addresses={"grpc": f"127.0.0.1:{grpc_port}"},
        ),
        etcd_part(data_directory=directory / "etcd", port=etcd_port, peer_port=etcd_peer_port),
        emulator_part(data_directory=directory / "moto", port=moto_port, progress=SilentProgress()),
        canned_part(data_directory=directory / "canned", port=canned_port, origin=f"http://127.0.0.1:{ssm_port}"),
    )


def _channel(address: str) -> grpc.aio.Channel:
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    return grpc.aio.insecure_channel(address, options=options)


def _ssm(endpoint: str) -> Any:
    return boto3.client(
        "ssm",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )


def _many() -> list[str]:
    return [f"/bench/many/p{number:03}" for number in range(_LISTED)]


def _check(found: Sequence[object], wanted: Sequence[object]) -> None:
    if list(found) != list(wanted):
        raise RuntimeError("the answers are not those that were expected")


if __name__ == "__main__":
    os.environ.setdefault("POWERTOOLS_LOG_LEVEL", "ERROR")
    sys.exit(asyncio.run(main()))
