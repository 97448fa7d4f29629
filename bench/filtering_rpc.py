"""What the batch RPC costs around a match: the service's CPU time for messages that arrive, against matching alone."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1.message_pb2 import FilterableMessage

from bench.filtering_server import SUBSCRIPTIONS, TOPIC, filled_store
from bench.filtering_workload import order
from bench.load import drive
from bench.measure import Comparison, CpuClock, Sample, Subject, compare, print_progress
from deploy.local.ports import free_port_numbers
from deploy.local.services import python_process
from deploy.local.supervisor import Supervisor
from services.filtering.codec import read_message
from services.filtering.topics import Topic

SUBJECT = Subject(
    key="batch_rpc_vs_match",
    what="1,000 overlapping subscriptions, BatchMatchMessages of 100 bodies, against parsing and matching alone",
    unit="events/CPU s",
    floor=None,  # it falls as matching gets faster
)
_METHOD = "/penstock.filtering.v1.FilteringService/BatchMatchMessages"
_BATCH = 100
_CALLS = 60


async def batch_rpc() -> Comparison:
    """Both sides match the same kind of messages; the answers of the first batch are compared."""
    random = Random(3)
    (port,) = free_port_numbers(1)
    address = f"127.0.0.1:{port}"
    topic = (await filled_store()).topics.topic(TOPIC)
    assert topic is not None
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        spec = python_process(
            "filtering",
            "bench.filtering_server",
            environment={"BENCH_PORT": str(port)},
            data_directory=Path(directory) / "filtering",
            addresses={"grpc": address},
        )
        async with Supervisor(working_directory=Path(directory), log_directory=Path(directory) / "logs") as supervisor:
            supervisor.add(spec)
            await supervisor.start(spec.name)
            clock = CpuClock(int(supervisor.status()[0]["pid"] or 0))

            async def our_round() -> Sample:
                batches = new_batches(random)
                requests = [pb.BatchMatchMessagesRequest(topic=TOPIC, messages=batch) for batch in batches]
                clock.restart()
                encoded = [request.SerializeToString() for request in requests]
                answer = await drive(address, _METHOD, encoded, connections=1, streams=4)
                seconds = clock.seconds
                check(topic, batches[0], answer.responses[0])
                return Sample(work=_BATCH * _CALLS, seconds=seconds, cpu_seconds=seconds)

            async def peer_round() -> Sample:
                messages = [message for batch in new_batches(random) for message in batch]
                started = time.thread_time()
                for message in messages:
                    topic.match(read_message(message))
                seconds = time.thread_time() - started
                return Sample(work=len(messages), seconds=seconds, cpu_seconds=seconds)

            return await compare(SUBJECT, ours=our_round, peer=peer_round, progress=print_progress)


def new_batches(random: Random) -> list[list[FilterableMessage]]:
    return [[FilterableMessage(body=json.dumps(order(random)).encode()) for _ in range(_BATCH)] for _ in range(_CALLS)]


def check(topic: Topic, batch: Sequence[FilterableMessage], answer: bytes) -> None:
    """Raise unless the service names the subscriptions that match."""
    response = pb.BatchMatchMessagesResponse.FromString(answer)
    names = [subscription.name for subscription in response.subscriptions]
    found = [{names[place] for place in result.subscription_indexes} for result in response.results]
    if len(topic.subscriptions) != SUBSCRIPTIONS or found != [set(topic.match(read_message(each))) for each in batch]:
        raise RuntimeError("the service answers other than the index")
