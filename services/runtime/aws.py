"""AWS clients off the event loop: boto3 blocks, so its calls run in threads of their own.

boto3 is imported when the first client is made: processes that need none start without it.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

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
    )
    return boto3.session.Session().client(service, endpoint_url=endpoint_url, config=config)


class BlockingCalls:
    """A bounded pool of threads for blocking calls. Close it when no call is in flight any more."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of `function`; it goes on in its thread when the waiting task is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))

    def close(self) -> None:
        """Waits for running calls, drops those that did not begin."""
        self._threads.shutdown(wait=True, cancel_futures=True)
