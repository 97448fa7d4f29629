"""AWS clients off the event loop: boto3 blocks, so its calls run in threads of their own.

boto3 is imported when the first client is made: processes that need none start without it.
"""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from services.runtime.settings import is_loopback

P = ParamSpec("P")
R = TypeVar("R")


def aws_client(
    service: str,
    *,
    region: str,
    endpoint_url: str | None = None,
    connect_timeout: float = 2.0,
    read_timeout: float = 60.0,
    max_attempts: int = 3,
    connections: int = 32,
) -> Any:
    """A boto3 client; credentials come from boto3's own chain (variables, profile, container or instance role).

    Args:
        service: boto3's name, such as `sqs`.
        region: AWS region.
        endpoint_url: where to call instead of AWS: an emulator, a VPC endpoint.
        connect_timeout: seconds to connect.
        read_timeout: seconds to wait for the answer.
        max_attempts: tries per call, the first included, with boto3's back-off; 1 leaves retries to the caller.
        connections: kept open; as many as threads call at the same time.
    """
    import boto3  # noqa: PLC0415 - a second of start-up that most processes save
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        region_name=region,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"total_max_attempts": max_attempts, "mode": "standard"},
        max_pool_connections=connections,
        # The machine's proxy cannot reach an emulator that listens on this machine alone; None leaves it to boto3.
        proxies={} if endpoint_url and is_loopback(urlsplit(endpoint_url).hostname or "") else None,
    )
    return boto3.session.Session().client(service, endpoint_url=endpoint_url, config=config)


class BlockingCalls:
    """Blocking calls in threads, so many at the same time. A call that hangs never holds up the end of the process."""

    def __init__(self, threads: int, name: str) -> None:
        self._room = asyncio.Semaphore(threads)
        self._name = name

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of `function`; it goes on in its thread when the waiting task is cancelled."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()

        def tell(settle: Callable[[], None]) -> None:
            # Nobody waits any more after a cancellation, or at the end of the process.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: None if answer.done() else settle())

        def call() -> None:
            try:
                result = function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - raised again in the task that waits
                tell(functools.partial(answer.set_exception, error))
            else:
                tell(functools.partial(answer.set_result, result))

        async with self._room:
            # A thread of a pool would be joined when the interpreter ends, however long its call takes.
            threading.Thread(target=call, name=self._name, daemon=True).start()
            return await answer
