"""How soon a subscription that is put on one replica decides on the others: config and three replicas as processes."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from google.protobuf import json_format
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceStub
from penstock.filtering.v1.message_pb2 import FilterableMessage, MessageAttribute
from penstock.filtering.v1.subscription_pb2 import Subscription

from bench.measure import Limit, Measurement, print_progress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor
from services.runtime.channel import open_channel

if TYPE_CHECKING:
    from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceAsyncStub

TO_REPLICAS = Limit(
    key="put_to_replicas_ms",
    what="after a put on one replica is answered until two others match by it, 1,000 subscriptions, 99th percentile",
    unit="ms",
    ceiling=10.0,
)
WITH_PUT = Limit(
    key="put_until_effective_ms",
    what="the same from the sending of the put, which is durable when it is answered, median",
    unit="ms",
)
_TOPIC = "pushed"
_OTHERS = 1_000
_PUTS = 100
_ROUNDS = 5


async def put_to_replicas() -> Sequence[Measurement]:
    """What the others answer tells the time: they are asked again and again."""
    async with replicas(3) as (first, *others):
        for number in range(_OTHERS):
            await put(first, f"s{number:04}", f"other-{number}")
        late, whole = list[float](), list[float]()
        for number in range(_ROUNDS + 1):
            took = [await milliseconds(first, others, f"{number}-{each}") for each in range(_PUTS)]
            late.append(quantiles([after for after, _ in took], n=100)[98])
            whole.append(median(since for _, since in took))
            print_progress(f"put_to_replicas_ms: round {number} of {_ROUNDS}, {late[-1]:.1f} and {whole[-1]:.1f} ms")
    # The first round warms up.
    return [Measurement(limit=TO_REPLICAS, values=late[1:]), Measurement(limit=WITH_PUT, values=whole[1:])]


async def milliseconds(
    first: "FilteringServiceAsyncStub", others: Sequence["FilteringServiceAsyncStub"], value: str
) -> tuple[float, float]:
    """Until the last of the others answers by the new policy: after the answer to the put, and since its sending."""
    request = pb.MatchMessageRequest(
        topic=_TOPIC, message=FilterableMessage(attributes={"k": MessageAttribute(value=value)})
    )

    async def effective(replica: "FilteringServiceAsyncStub") -> None:
        while not (await replica.MatchMessage(request)).subscriptions:
            pass

    sent = time.perf_counter()
    await put(first, "moving", value)
    answered = time.perf_counter()
    await asyncio.gather(*map(effective, others))
    done = time.perf_counter()
    return (done - answered) * 1000, (done - sent) * 1000


async def put(replica: "FilteringServiceAsyncStub", name: str, value: str) -> None:
    document = {
        "topic": _TOPIC,
        "name": name,
        "filter_policy": f'{{"k": ["{value}"]}}',
        "target": {"queue": {"destination": name}},
    }
    await replica.PutSubscription(
        pb.PutSubscriptionRequest(subscription=json_format.ParseDict(document, Subscription()))
    )


@asynccontextmanager
async def replicas(count: int) -> AsyncIterator[Sequence["FilteringServiceAsyncStub"]]:
    """Clients of so many filtering processes on one config process."""
    config_port, *ports = free_port_numbers(1 + count)
    config = f"127.0.0.1:{config_port}"
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        directory = Path(name)
        async with Supervisor(working_directory=directory, log_directory=directory / "logs") as supervisor:
            parts = [("config", "services.config", config_port, {"DATABASE": str(directory / "parameters.sqlite3")})]
            for port in ports:
                own = {
                    "CONFIG_TARGET": config,
                    "SNAPSHOT": str(directory / f"{port}.json"),
                    "MAX_SUBSCRIPTIONS_PER_TOPIC": str(_OTHERS + 1),
                }
                parts.append((f"filtering-{port}", "services.filtering", port, own))
            for part, module, port, own in parts:
                given = {"PORT": str(port), "METRICS_PORT": "0", **own}
                prefix = f"PENSTOCK_{module.removeprefix('services.').upper()}_"
                supervisor.add(
                    python_process(
                        part,
                        module,
                        environment={prefix + field: value for field, value in given.items()},
                        data_directory=directory / part,
                        addresses={"grpc": f"127.0.0.1:{port}"},
                    )
                )
                await supervisor.start(part)
            channels = [open_channel(f"127.0.0.1:{port}") for port in ports]
            try:
                yield [FilteringServiceStub(channel) for channel in channels]
            finally:
                await asyncio.gather(*(channel.close() for channel in channels))


async def main() -> int:
    """This measurement alone; `make bench-filtering` publishes it with the others."""
    measurements = await put_to_replicas()
    for measured in measurements:
        print_progress(f"{measured.limit.what}: {measured.value:.1f} {measured.limit.unit}")
    return 0 if all(measured.limit.is_kept(measured.value) for measured in measurements) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
