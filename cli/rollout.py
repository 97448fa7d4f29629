"""`penstock params rollout`: a new value for some callers first, and back when a command says so."""

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connection import EXIT_REFUSED, target_option, tls_ca_option, token_file_option, usage_error, with_channel

if TYPE_CHECKING:
    import grpc
    from penstock.client import Outcome

_EXAMPLES = """Examples:

penstock params rollout /prod/app/limit 250 --percent 5,25,50 --bake 60 --alarm './errors-above-1-percent'

penstock params rollout /prod/app/limit 250 --caller host-7 --percent 0 --bake 600 --alarm 'aws-alarm-is-on api-5xx'
"""


def register(params: typer.Typer) -> None:
    """Add the command."""
    params.command("rollout", epilog=_EXAMPLES)(rollout)


def rollout(
    name: Annotated[str, typer.Argument(help="Name of the parameter.")],
    value: Annotated[str, typer.Argument(help="The new value; - reads standard input.")],
    alarm: Annotated[
        str, typer.Option(metavar="COMMAND", help="Asked again and again: exit code 0 is an alarm, 1 is none.")
    ],
    percent: Annotated[str, typer.Option(metavar="P,P,...", help="Shares of the callers, growing.")] = "5,25,50",
    caller: Annotated[list[str] | None, typer.Option(help="A caller that is in from the start; repeatable.")] = None,
    bake: Annotated[float, typer.Option(min=0.1, help="Seconds each share is watched.")] = 60.0,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between questions to the alarm command.")] = 5.0,
    target: str = target_option("config", 50051),
    tls_ca: Path | None = tls_ca_option(),
    token_file: Path | None = token_file_option(),
) -> None:
    """Give a new value to a growing share of the callers, then to all; exit code 1 when it was rolled back.

    An alarm, an alarm command that fails otherwise, and Ctrl-C take it back at once; should this command be killed, it
    ends by itself two minutes after the bake time.
    """
    from penstock.client import ParameterClient, PenstockError, RollingOut, RolloutPlan  # noqa: PLC0415 - see the package

    try:
        plan = RolloutPlan(
            percentages=[float(share) for share in percent.split(",")],
            callers=caller or (),
            bake_seconds=bake,
            poll_seconds=min(poll, bake),
        )
    except ValueError:
        usage_error(f"--percent {percent!r}: write numbers separated by commas, such as 5,25,50")
    except PenstockError as error:
        usage_error(error.message)
    text = sys.stdin.read() if value == "-" else value

    async def operation(channel: "grpc.aio.Channel") -> "Outcome":
        rolling = RollingOut(ParameterClient(channel), alarm=lambda: _alarmed(alarm), tell=_say)
        return await rolling.run(name, text, plan)

    outcome = with_channel(target, operation, tls_ca=tls_ca, token_file=token_file)
    print(outcome.value)
    if outcome.value != "completed":
        raise typer.Exit(EXIT_REFUSED)


async def _alarmed(command: str) -> bool:
    """Whether the command says so.

    Raises:
        RuntimeError: it ended with another exit code than 0 and 1.
    """
    process = await asyncio.create_subprocess_exec(*shlex.split(command), stdout=asyncio.subprocess.DEVNULL)
    code = await process.wait()
    if code not in (0, 1):
        raise RuntimeError(f"{command} ended with exit code {code}")
    return code == 0


def _say(text: str) -> None:
    """On standard error, at once: the outcome alone is the output."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - see the package

        Console(stderr=True).print(f"[dim]rollout[/dim] {text}", highlight=False)
    else:
        print(json.dumps({"rollout": text}, ensure_ascii=False), file=sys.stderr, flush=True)
