"""How commands talk to the services: an address, one event loop per command, errors as text and exit code."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    import grpc

    from services.runtime.errors import PenstockError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3

T = TypeVar("T")


def target_option(service: str, port: int) -> Any:
    """The option `--target`, the default of a parameter `target: str`.

    Its own default is the variable `PENSTOCK_TARGET_<SERVICE>`, else `port` on this machine.
    """
    return typer.Option(
        f"127.0.0.1:{port}",
        "--target",
        envvar=f"PENSTOCK_TARGET_{service.upper()}",
        metavar="HOST:PORT",
        help=f"Address of the {service} service.",
        rich_help_panel="Connection",
    )


def tls_ca_option() -> Any:
    """The option `--tls-ca` or `PENSTOCK_TLS_CA`, the default of a parameter `tls_ca: Path | None`."""
    return typer.Option(
        None,
        "--tls-ca",
        envvar="PENSTOCK_TLS_CA",
        exists=True,
        dir_okay=False,
        help="PEM authorities of the server's certificate; without it the connection is plain text.",
        rich_help_panel="Connection",
    )


def token_file_option() -> Any:
    """The option `--token-file` or `PENSTOCK_TOKEN_FILE`, the default of a parameter `token_file: Path | None`.

    A token itself is no option: everybody on the machine could read it in the list of processes.
    """
    return typer.Option(
        None,
        "--token-file",
        envvar="PENSTOCK_TOKEN_FILE",
        exists=True,
        dir_okay=False,
        help="File of the token that is shown to the service.",
        rich_help_panel="Connection",
    )


def with_channel(
    target: str,
    operation: Callable[["grpc.aio.Channel"], Awaitable[T]],
    *,
    tls_ca: Path | None = None,
    token_file: Path | None = None,
    call_timeout: float | None = 30.0,
) -> T:
    """The result of `operation`, which calls services over a channel to `target`.

    Args:
        target: address, `host:port`.
        operation: gets the open channel; it may raise `PenstockError`s of its own, shown like the service's.
        tls_ca: PEM authorities of the server's certificate; without it the connection is plain text.
        token_file: holds the token that is shown to the service; None shows none.
        call_timeout: seconds granted to each unary call that names none.

    Raises:
        typer.Exit: after the error has been printed to standard error, with EXIT_UNREACHABLE when no service answered,
            with EXIT_REFUSED for every other error. 130 on Ctrl-C, as shells have it.
    """
    from services.runtime.errors import PenstockError  # noqa: PLC0415 - see the package

    token = token_file.read_text(encoding="ascii").strip() if token_file else ""
    try:
        return asyncio.run(_run(target, operation, tls_ca, token, call_timeout))
    except PenstockError as error:
        fail(error, target)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(error: "PenstockError", target: str) -> NoReturn:
    """Print an error, every violation on a line of its own, and exit."""
    from services.runtime.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError  # noqa: PLC0415

    if isinstance(error, UnavailableError | DeadlineExceededError):
        _say(
            f"no answer from the service at {target}: {error.message}\n"
            "is it running? `penstock up` starts the suite; --target names another address"
        )
        raise typer.Exit(EXIT_UNREACHABLE)
    lines = [error.message]
    if isinstance(error, InvalidArgumentError):
        texts = (f"{violation.field}: {violation.description}" for violation in error.violations)
        lines += [f"  {text}" for text in texts if text not in error.message]
    _say("\n".join(lines))
    raise typer.Exit(EXIT_REFUSED)


def usage_error(message: str) -> NoReturn:
    """Print what is wrong with the arguments and exit with EXIT_USAGE."""
    _say(message)
    raise typer.Exit(EXIT_USAGE)


def refuse(message: str) -> NoReturn:
    """Print why something was not done and exit with EXIT_REFUSED."""
    _say(message)
    raise typer.Exit(EXIT_REFUSED)


async def _run(
    target: str,
    operation: Callable[["grpc.aio.Channel"], Awaitable[T]],
    tls_ca: Path | None,
    token: str,
    call_timeout: float | None,
) -> T:
    import grpc  # noqa: PLC0415 - see the package

    from services.runtime.channel import open_channel  # noqa: PLC0415
    from services.runtime.status import from_rpc_error  # noqa: PLC0415

    async with open_channel(target, tls_ca=tls_ca, token=token, default_timeout=call_timeout) as channel:
        try:
            return await operation(channel)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def _say(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)
