"""The filtering service with its subscriptions in memory, for `bench.filtering_rpc`: a process of its own."""

import asyncio
import json
import os
from random import Random

import grpc
import uvloop
from google.protobuf import json_format
from grpc_health.v1 import health_pb2_grpc
from penstock.filtering.v1.subscription_pb2 import Subscription

from bench.echo import HealthServicer
from bench.filtering_workload import mixed_policy
from services.filtering.servicer import FilteringServicer
from services.filtering.store import MemorySubscriptionStore
from services.filtering.subscription import read_subscription

TOPIC = "Orders"
SUBSCRIPTIONS = 1000


async def filled_store() -> MemorySubscriptionStore:
    """Overlapping subscriptions on the body."""
    store, random = MemorySubscriptionStore(), Random(SUBSCRIPTIONS)
    for number in range(SUBSCRIPTIONS):
        document = {
            "topic": TOPIC,
            "name": f"s{number:05}",
            "filter_policy": json.dumps(mixed_policy(random)),
            "dialect": "FILTER_DIALECT_EVENTBRIDGE",
            "target": {"queue": {"destination": f"q{number}"}},
        }
        await store.put(read_subscription(json_format.ParseDict(document, Subscription())), None)
    return store


async def main(port: int) -> None:
    server = grpc.aio.server()
    FilteringServicer(await filled_store(), max_subscriptions_per_topic=SUBSCRIPTIONS).register(server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(os.environ["BENCH_FILTERING_PORT"])))
