"""The double of SQS, SNS, Kinesis, DynamoDB and S3: moto's server. Good for wiring, no evidence about AWS.

It holds everything in memory: a restart forgets queues, tables and buckets.
"""

import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from deploy.local.part import PartError, PartNotReadyError, PartSpec, Progress
from deploy.local.probes import ask

# Port 1 is never a Docker daemon: an emulated service that wants containers fails instead of reaching the machine's.
_NO_DOCKER = "tcp://127.0.0.1:1"


class EmulatorNotFoundError(PartError):
    """moto is not installed."""


def emulator_part(*, data_directory: Path, port: int, progress: Progress) -> PartSpec:
    """Describe the emulator, whose account is 123456789012 and whose log alone lies in `data_directory`.

    Raises:
        EmulatorNotFoundError: moto or its web server is not installed.
    """
    if not (find_spec("moto") and find_spec("flask")):
        raise EmulatorNotFoundError("no AWS emulator: `pip install 'penstock[embedded]'`")
    release = version("moto")
    progress.step(f"AWS emulator from moto {release}")
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="aws-emulator",
        argv=(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)),
        environment={"DOCKER_HOST": _NO_DOCKER, "PYTHONWARNINGS": "ignore"},
        data_directory=data_directory,
        addresses={"http": f"127.0.0.1:{port}"},
        version=f"moto {release}",
        is_real=False,
        ready=partial(answers_http, port),
        clean_exit_codes=frozenset({0, -15}),
    )


async def answers_http(port: int) -> None:
    """One HTTP request for the emulator's own status page.

    Raises:
        PartNotReadyError: no status 200 within two seconds.
    """
    request = b"GET /moto-api/data.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await ask(port, request, until=b"\r\n", name="the AWS emulator")
    if answer.split()[1:2] != [b"200"]:
        raise PartNotReadyError(f"the AWS emulator on port {port} answers {answer!r}")
