"""Where a route takes messages from: a queue, the queues of a wildcard, a topic."""

import re

_SOURCE = re.compile(r"(queue|topic)://([^\s?,\x00]+)")
_WILDCARDS = ("*", ">")
# Dead letters are replayed, not routed; `ActiveMQ.` holds the broker's own queues and advisories.
_KEPT_OUT = ("DLQ", "ActiveMQ")


def fault_of_source(source: str) -> str:
    """What is wrong with a source; empty when nothing is."""
    match = _SOURCE.fullmatch(source)
    if match is None:
        return f"{source!r} is not a queue such as queue://orders, or a topic such as topic://prices"
    levels = match[2].split(".")
    if any(wildcard in level and wildcard != level for level in levels for wildcard in _WILDCARDS):
        return f"{source!r}: a wildcard stands for a whole level, as in queue://orders.* or queue://orders.>"
    if ">" in levels[:-1]:
        return f"{source!r}: > stands for everything below and can only be the last level"
    if levels[0] in _WILDCARDS:
        return f"{source!r} would take dead letters too: begin with a name"
    if levels[0] in _KEPT_OUT:
        return f"{source!r}: dead letters are replayed, not routed; the broker's own destinations neither"
    return ""


def is_topic(source: str) -> bool:
    return source.startswith("topic://")


def is_wildcard(source: str) -> bool:
    return any(level in _WILDCARDS for level in source.partition("://")[2].split("."))


def dead_letter_queue(destination: str) -> str:
    """`queue://DLQ.orders` for `queue://orders`, and for a topic likewise.

    ActiveMQ's individual dead letter strategy with the prefix `DLQ.` uses the same names.
    """
    return f"queue://DLQ.{destination.partition('://')[2]}"
