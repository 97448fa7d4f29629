"""Runs the endpoint: `python -m deploy.local.lambda_endpoint --functions functions.toml --data DIRECTORY`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from deploy.local.lambda_endpoint.endpoint import LambdaEndpoint
from deploy.local.lambda_endpoint.function import FunctionFileError, load_functions


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.lambda_endpoint", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback only: functions run with this user's rights")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--functions", type=Path, required=True, help="TOML or JSON file of functions")
    parser.add_argument("--data", type=Path, required=True, help="folder of invocation records and queued events")
    parser.add_argument(
        "--retry-delay",
        type=float,
        action="append",
        metavar="SECONDS",
        help="wait before a further attempt of an Event, once per attempt (default: 60 and 120, as Lambda)",
    )
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    endpoint = LambdaEndpoint(
        load_functions(arguments.functions),
        host=arguments.host,
        port=arguments.port,
        data_directory=arguments.data,
        retry_delays=arguments.retry_delay if arguments.retry_delay is not None else (60.0, 120.0),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with endpoint:
        await stop.wait()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(_arguments()))
    except (FunctionFileError, OSError) as problem:
        sys.exit(f"lambda endpoint: {problem}")
