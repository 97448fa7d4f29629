"""What the config bench runs: config, etcd, moto and the two bounds as processes, all filled alike."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import grpc
from aws_lambda_powertools.utilities.parameters import SSMProvider
from botocore.config import Config

from bench.bare_watch import bare_part
from bench.canned_ssm import canned_part
from bench.config_stores import Etcd, Penstock, Store
from bench.etcd import etcd_part
from deploy.local.emulator import emulator_part
from deploy.local.part import PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor

VALUE = "x" * 200
_CHANNELS = 1  # the watchers of a client share its connection, as gRPC has it
_LISTED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Both sides of everything, filled alike."""

    address: str
    ours: Store
    bare: Store
    etcd: Store
    our_ssm: Any
    moto: Any
    canned: Any
    powertools: SSMProvider
    channels: Mapping[str, Sequence[grpc.aio.Channel]]

    async def watchers(self, side: str, count: int) -> Sequence[Callable[[], Awaitable[str]]]:
        """So many of one side: ours, bare or etcd."""
        store: Store = {"ours": self.ours, "bare": self.bare, "etcd": self.etcd}[side]
        channels = self.channels[side]
        return [await store.watch("/bench/pushed", channels[number % _CHANNELS]) for number in range(count)]


@asynccontextmanager
async def setting(directory: Path) -> AsyncIterator[Setting]:
    """Config, etcd and moto as processes of their own, each with the same parameters."""
    ports = free_port_numbers(7)
    specs = describe(directory, ports)
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(
            Supervisor(working_directory=directory, log_directory=directory / "logs")
        )
        for spec in specs:
            supervisor.add(spec)
            await supervisor.start(spec.name)
        config, etcd, moto, canned, bare = specs
        channels = {
            name: [await stack.enter_async_context(_channel(spec.addresses["grpc"])) for _ in range(_CHANNELS)]
            for name, spec in (("ours", config), ("bare", bare), ("etcd", etcd))
        }
        place = Setting(
            address=config.addresses["grpc"],
            ours=Penstock(channels["ours"][0]),
            bare=Penstock(channels["bare"][0]),
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
    for name in ("/bench/one", *many_names()):
        await place.ours.put(name, VALUE)
        await place.etcd.put(name, VALUE)
        place.moto.put_parameter(Name=name, Value=VALUE, Type="String")


def describe(directory: Path, ports: Sequence[int]) -> Sequence[PartSpec]:
    """The processes, ours first."""
    grpc_port, ssm_port, etcd_port, etcd_peer_port, moto_port, canned_port, bare_port = ports
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
        bare_part(data_directory=directory / "bare", port=bare_port),
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


def many_names() -> list[str]:
    return [f"/bench/many/p{number:03}" for number in range(_LISTED)]
