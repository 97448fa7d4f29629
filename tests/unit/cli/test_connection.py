"""What a command prints when a service refuses or does not answer, and how it ends."""

from collections.abc import Awaitable, Callable

import grpc
import pytest
import typer
from penstock.config.v1.config_service_pb2 import GetParameterRequest
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub

from cli.connection import EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE, fail, usage_error, with_channel
from services.runtime.errors import (
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    ResourceExhaustedError,
    UnavailableError,
)

TARGET = "127.0.0.1:1"


def failing(error: BaseException) -> Callable[[grpc.aio.Channel], Awaitable[None]]:
    async def operation(_channel: grpc.aio.Channel) -> None:
        raise error

    return operation


def test_the_answer_of_the_operation_is_returned() -> None:
    """It gets an open channel."""

    async def operation(channel: grpc.aio.Channel) -> str:
        return type(channel).__name__

    assert with_channel(TARGET, operation) == "Channel"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("no parameter /a", reason="ERROR_REASON_PARAMETER_NOT_FOUND"), EXIT_REFUSED),
        (InvalidArgumentError("malformed"), EXIT_REFUSED),
        (ResourceExhaustedError("full"), EXIT_REFUSED),
        (UnavailableError("connection refused"), EXIT_UNREACHABLE),
        (DeadlineExceededError("too late"), EXIT_UNREACHABLE),
    ],
    ids=["not found", "malformed", "full", "away", "too late"],
)
def test_errors_have_exit_codes(error: PenstockError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for what the service refuses, 3 when no service answers; the message goes to standard error."""
    with pytest.raises(typer.Exit) as caught:
        with_channel(TARGET, failing(error))
    assert caught.value.exit_code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert error.message in printed.err


def test_no_service_is_told_with_its_address_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A real call to a port where nobody listens."""

    async def operation(channel: grpc.aio.Channel) -> object:
        return await ConfigServiceStub(channel).GetParameter(GetParameterRequest(name="/a"))

    with pytest.raises(typer.Exit) as caught:
        with_channel(TARGET, operation)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    printed = capsys.readouterr().err
    assert TARGET in printed
    assert "penstock up" in printed


def test_every_violation_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that the message tells already are not repeated."""
    violations = [
        FieldViolation(field="name", description="is empty"),
        FieldViolation(field="value", description="is too long"),
    ]
    error = InvalidArgumentError("refused: name: is empty", violations=violations)
    with pytest.raises(typer.Exit):
        fail(error, TARGET)
    assert capsys.readouterr().err == "error: refused: name: is empty\n  value: is too long\n"


def test_ctrl_c_ends_as_shells_have_it() -> None:
    """128 and the number of SIGINT, without a traceback."""
    with pytest.raises(typer.Exit) as caught:
        with_channel(TARGET, failing(KeyboardInterrupt()))
    assert caught.value.exit_code == 130


def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is wrong."""
    with pytest.raises(typer.Exit) as caught:
        usage_error("give one of them")
    assert caught.value.exit_code == EXIT_USAGE
    assert capsys.readouterr().err == "error: give one of them\n"
