"""Fetch the broker's jars, of every line, into the cache now: `python -m deploy.local.fetch`. For images."""

import sys

from deploy.local.home import jar_cache
from deploy.local.jar_sources import jar_sources
from deploy.local.jars import LOCK_FILES, broker_jars, read_lock
from deploy.local.part import PartError, SilentProgress


def main() -> None:
    """Print what is in the cache, one line per line of ActiveMQ."""
    for line, lock in LOCK_FILES.items():
        print(broker_jars(jar_cache(), SilentProgress(), jar_sources(line), read_lock(lock)))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except PartError as error:
        sys.exit(f"error: {error}")
