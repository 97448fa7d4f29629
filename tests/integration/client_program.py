"""A program of a user, run by tests in an environment that has the wheel alone: it knows nothing of this repository.

Usage: client_program.py TARGET FOLDER, with `limit` and `secret` below /program. A line `put` on its standard input
makes it write.
"""

import queue
import sys
from pathlib import Path

from penstock.client import ConfigClient, NotFoundError


def main(target: str, folder: Path) -> None:
    """Reads, watches, and goes on while the service is away."""
    limits: queue.Queue[int | None] = queue.Queue()
    with ConfigClient(
        target, ["/program"], secrets=True, snapshots=folder, snapshot_key=folder / "key", wait_seconds=20
    ) as config:
        say("limit", config.get("/program/limit", int), "secret", config.get("/program/secret"))
        say("default", config.get("/program/nothing", default="none"))
        end = config.watch("/program/limit", limits.put, int)
        say("watching", limits.get(timeout=10))
        if sys.stdin.readline() == "put\n":
            say("wrote", config.put("/program/limit", "11"), config.fetch("/program/limit:1").value)
            say("pushed", limits.get(timeout=10), config.get("/program/limit", int))
            end()
            try:
                config.fetch("/program/nothing")
            except NotFoundError as error:
                say("refused", error.reason)
        say("stale", config.stale_since is not None)
    say("ended")


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)  # noqa: T201 - its output is what the test reads


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
