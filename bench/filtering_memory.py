"""What 100,000 subscriptions occupy, in a process that holds nothing else: run as a process of its own."""

import json
from random import Random

import psutil

from bench.filtering_workload import mixed_policy, order
from services.filtering.dialect import EVENTBRIDGE
from services.filtering.index import Index
from services.filtering.message import body_document
from services.filtering.policy import parse_policy

SUBSCRIPTIONS = 100_000
_EVENTS = 20_000


def main() -> None:
    """Print, in words, by how much the resident memory has grown."""
    process, random = psutil.Process(), Random(SUBSCRIPTIONS)
    before = process.memory_info().rss
    policies = [parse_policy(json.dumps(mixed_policy(random)), EVENTBRIDGE) for _ in range(SUBSCRIPTIONS)]
    parsed = process.memory_info().rss
    index = Index(enumerate(policies))
    built = process.memory_info().rss
    for _ in range(_EVENTS):
        index.match_document(body_document(json.dumps(order(random)).encode()))
    used = process.memory_info().rss
    print(
        f"{SUBSCRIPTIONS:,} overlapping subscriptions: {(used - before) / 1e6:.0f} MB of resident memory, of which "
        f"{(parsed - before) / 1e6:.0f} MB parsed policies, {(built - parsed) / 1e6:.0f} MB index, "
        f"{(used - built) / 1e6:.0f} MB remembered after {_EVENTS:,} unseen events"
    )


if __name__ == "__main__":
    main()
