"""The suite's own processes as parts of the embedded stack: what each is told, and how to see that it serves."""

import asyncio
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from deploy.local.lambda_endpoint.function import FunctionFileError, load_functions
from deploy.local.part import PartError, PartNotReadyError, PartSpec
from deploy.local.ports import Ports
from deploy.local.probes import ask
from deploy.local.wiring import EMULATOR_LOGIN

_PROBE_SECONDS = 2.0


def python_process(
    name: str,
    module: str,
    *,
    environment: Mapping[str, str],
    data_directory: Path,
    addresses: Mapping[str, str],
) -> PartSpec:
    """A gRPC service run as `python -m module`; ready when its health answers SERVING at `addresses["grpc"]`."""
    data_directory.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name=name,
        argv=(sys.executable, "-m", module),
        environment=environment,
        data_directory=data_directory,
        addresses=addresses,
        version=f"penstock {version('penstock')}",
        is_real=True,
        ready=partial(answers_serving, addresses["grpc"], name),
    )


async def answers_serving(address: str, name: str) -> None:
    """One grpc.health.v1 Check of the process as a whole.

    In a thread, by a blocking channel: gRPC's asyncio channels want one event loop per process, and a program that
    starts a stack on a loop of its own may have its channels on another.

    Raises:
        PartNotReadyError: no answer within two seconds, or another one than SERVING.
    """
    await asyncio.to_thread(_check_health, address, name)


def _check_health(address: str, name: str) -> None:
    import grpc  # noqa: PLC0415 - half a second that `penstock --help` must not pay
    from grpc_health.v1 import health_pb2  # noqa: PLC0415

    # A subchannel shared between probes would sit out its reconnect back-off although the process serves by now.
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(address, options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except grpc.RpcError as error:
            raise PartNotReadyError(f"{name} at {address}: {error.code().name} {error.details()}") from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        raise PartNotReadyError(f"{name} at {address} answers {status}")


def lambda_endpoint_part(*, data_directory: Path, ports: Ports, functions: Path) -> PartSpec:
    """The local Lambda; an Event that fails is retried after 1 and 2 seconds (AWS: 60 and 120).

    Raises:
        PartError: awslambdaric is not installed, or the file of functions has faults.
    """
    if not find_spec("awslambdaric"):
        raise PartError("no Lambda runtime client: `pip install 'penstock[embedded]'`")
    try:
        load_functions(functions)
    except FunctionFileError as error:
        raise PartError(f"functions: {error}") from error
    data_directory.mkdir(parents=True, exist_ok=True)
    port = ports.lambda_endpoint
    return PartSpec(
        name="lambda-endpoint",
        argv=(
            sys.executable, "-m", "deploy.local.lambda_endpoint", "--port", str(port),
            "--functions", str(functions), "--data", str(data_directory), "--retry-delay", "1", "--retry-delay", "2",
        ),
        environment={"AWS_ENDPOINT_URL": f"http://{ports.address('emulator')}", **EMULATOR_LOGIN},
        data_directory=data_directory,
        addresses={"http": ports.address("lambda_endpoint")},
        version=f"awslambdaric {version('awslambdaric')} under Penstock's own Invoke API",
        is_real=False,
        ready=partial(lambda_endpoint_answers, port),
    )  # fmt: skip


async def lambda_endpoint_answers(port: int) -> None:
    """One HTTP request for the endpoint's own health page.

    Raises:
        PartNotReadyError: no status 200 within two seconds.
    """
    request = b"GET /_penstock/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await ask(port, request, until=b"\r\n", name="the Lambda endpoint")
    if answer.split()[1:2] != [b"200"]:
        raise PartNotReadyError(f"the Lambda endpoint on port {port} answers {answer!r}")
