"""The filtering service with its subscriptions in memory, for `bench.filtering_rpc`: a process of its own."""

import json
from random import Random

from google.protobuf import json_format
from penstock.filtering.v1.subscription_pb2 import Subscription

from bench.bare_server import bare_server, run
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


async def main() -> None:
    servicer = FilteringServicer(await filled_store(), max_subscriptions_per_topic=SUBSCRIPTIONS)
    async with bare_server(servicer.register) as server:
        await server.wait_for_termination()


if __name__ == "__main__":
    run(main())
