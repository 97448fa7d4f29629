"""`penstock demo`: the stories, told on an embedded stack of their own that is gone afterwards."""

import asyncio
import shutil
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from cli.connection import EXIT_REFUSED, usage_error
from cli.output import print_json

if TYPE_CHECKING:
    from deploy.local.demo.expectation import StoryResult
    from deploy.local.stack import EmbeddedStack

EPILOG = """Examples:

penstock demo

penstock demo --story orders --story restart

docker compose run --rm demo
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG)(demo)


def demo(
    names: Annotated[
        list[str] | None, typer.Option("--story", metavar="NAME", help="Tell this story only; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every result as JSON.")] = False,
    in_containers: Annotated[
        bool, typer.Option("--in-containers", help="Tell them on the stack of docker compose, from inside its network.")
    ] = False,
) -> None:
    """Start the embedded stack on free ports, tell the stories, end every process. Exit code 0 only if all held.

    Stories: orders, ad-tracking, amazon-mq, configuration, restart. With --in-containers nothing is started or ended,
    and `restart` is left out: a container cannot kill its neighbours.
    """
    from deploy.local.demo.stories import RESTART, STORIES  # noqa: PLC0415 - see the package

    stories = [name for name in STORIES if not (in_containers and name == RESTART)]
    chosen = names or stories
    if unknown := [name for name in chosen if name not in stories]:
        usage_error(f"no story {', '.join(unknown)}; there are {', '.join(stories)}")
    presenter = _JsonPresenter() if as_json else _TextPresenter()
    started = time.monotonic()
    if in_containers:
        held = asyncio.run(_tell_in_containers(chosen, presenter))
        presenter.finish(f"{RESTART} is told by `make demo` alone", held=held, seconds=time.monotonic() - started)
        raise typer.Exit(0 if held else EXIT_REFUSED)
    try:
        home = _fresh_home()
    except OSError as error:
        print(f"error: no folder for the demo's data: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_REFUSED) from None
    try:
        held = asyncio.run(_until_signal(_tell(chosen, home, presenter)))
    except _InterruptedError as interrupted:
        shutil.rmtree(home)
        print(f"{interrupted}: broken off, every process has ended", file=sys.stderr)
        raise typer.Exit(interrupted.exit_code) from None
    if held:
        shutil.rmtree(home)
    else:
        presenter.step(f"data and logs are kept in {home}")
    presenter.finish("every process has ended", held=held, seconds=time.monotonic() - started)
    if not held:
        raise typer.Exit(EXIT_REFUSED)


class _InterruptedError(Exception):
    """A signal, whose name is the message, ended the demo; `exit_code` is what shells give for it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number


async def _until_signal(telling: Coroutine[Any, Any, bool]) -> bool:
    """The result of `telling`; SIGINT, SIGTERM and SIGHUP break it off in order. Raises `_InterruptedError`."""
    task = asyncio.ensure_future(telling)
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if not received:  # a second one must not break off the tidying
            task.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        raise _InterruptedError(received[0]) from None


class _Presenter(Protocol):
    """Where the demo shows what it does. `step` is also the progress of the stack while it fetches parts."""

    def step(self, text: str) -> None: ...
    def stack_is_up(self, stack: "EmbeddedStack") -> None: ...
    def told(self, result: "StoryResult") -> None: ...
    def failed(self, error: Exception) -> None: ...
    def finish(self, remark: str, *, held: bool, seconds: float) -> None: ...


async def _tell(names: Sequence[str], home: Path, presenter: _Presenter) -> bool:
    from deploy.local.demo.session import open_session  # noqa: PLC0415 - see the package
    from deploy.local.demo.stories import Stage, tell_all  # noqa: PLC0415
    from deploy.local.jms import find_jms_client  # noqa: PLC0415
    from deploy.local.part import PartError  # noqa: PLC0415
    from deploy.local.ports import PortTakenError, free_ports  # noqa: PLC0415
    from deploy.local.stack import EmbeddedStack  # noqa: PLC0415
    from deploy.local.supervisor import StartError  # noqa: PLC0415

    try:
        async with AsyncExitStack() as resources:
            ports = free_ports()
            jms = await asyncio.to_thread(find_jms_client, f"tcp://{ports.address('openwire')}", progress=presenter)
            if jms.runs_source:
                jms = await asyncio.to_thread(jms.compiled, home / "jms")
            presenter.step("starting the embedded stack")
            stack = await resources.enter_async_context(EmbeddedStack(home=home, ports=ports, progress=presenter))
            presenter.stack_is_up(stack)
            session = await resources.enter_async_context(open_session(ports, jms))

            async def kill(name: str) -> None:
                stack.kill(name)

            second = await stack.start_extra("tracking-2", like="tracking")
            stage = Stage(session=session, kill=kill, second_intake=second["grpc"])
            return await tell_all(stage, names, presenter.told)
    except (PartError, PortTakenError, StartError, OSError) as error:
        presenter.failed(error)
        return False


async def _tell_in_containers(names: Sequence[str], presenter: _Presenter) -> bool:
    from deploy.local.demo.containers import open_stage  # noqa: PLC0415 - see the package
    from deploy.local.demo.stories import tell_all  # noqa: PLC0415
    from deploy.local.part import PartError  # noqa: PLC0415

    try:
        async with open_stage(presenter) as stage:
            return await tell_all(stage, names, presenter.told)
    except (PartError, OSError) as error:
        presenter.failed(error)
        return False


def _fresh_home() -> Path:
    """A folder of this run's own, so that demos at the same time do not meet."""
    import os  # noqa: PLC0415 - see the package
    import tempfile  # noqa: PLC0415

    from deploy.local.home import default_home  # noqa: PLC0415

    parent = default_home(os.environ)
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="demo-", dir=parent))


class _TextPresenter:
    """Tables for people, on a terminal and in a log."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - see the package

        self._console = Console(width=None if sys.stdout.isatty() else 140)

    def step(self, text: str) -> None:
        self._console.print(f"[dim]· {text}[/dim]", highlight=False)

    def stack_is_up(self, stack: "EmbeddedStack") -> None:
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, pad_edge=False)
        for heading in ("process", "what runs", "where"):
            table.add_column(heading, overflow="fold", no_wrap=heading == "process")
        for name, part in stack.parts.items():
            kind = part.version if part.is_real else f"{part.version} [yellow](a double)[/yellow]"
            table.add_row(name, kind, "\n".join(f"{role} {address}" for role, address in part.addresses.items()))
        self._console.print(table)

    def told(self, result: "StoryResult") -> None:
        from rich.markup import escape  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table()
        for heading in ("", "what", "expected", "received"):
            table.add_column(heading, overflow="fold")
        for expectation in result.expectations:
            mark = "[green]✓[/green]" if expectation.held else "[red]✗[/red]"
            table.add_row(mark, *map(escape, (expectation.what, expectation.expected, expectation.received)))
        self._console.print()
        self._console.print(result.title, style="bold", markup=False, highlight=False)
        self._console.print(table)
        for measurement in result.measurements:
            self._console.print(f"  {measurement}")

    def failed(self, error: Exception) -> None:
        self._console.print(f"error: {error}", style="red", markup=False)

    def finish(self, remark: str, *, held: bool, seconds: float) -> None:
        verdict = "[green]every expectation held[/green]" if held else "[red]not every expectation held[/red]"
        self._console.print(f"\n{verdict}; {seconds:.1f} s, and {remark}")


class _JsonPresenter:
    """One document at the end, nothing before it."""

    def __init__(self) -> None:
        self._stories: list[dict[str, object]] = []
        self._error: str | None = None

    def step(self, text: str) -> None:
        """Show nothing."""

    def stack_is_up(self, stack: "EmbeddedStack") -> None:
        """Show nothing."""

    def told(self, result: "StoryResult") -> None:
        claims = [
            {"what": e.what, "expected": e.expected, "received": e.received, "held": e.held}
            for e in result.expectations
        ]
        self._stories.append({"title": result.title, "expectations": claims, "measurements": list(result.measurements)})

    def failed(self, error: Exception) -> None:
        self._error = str(error)

    def finish(self, remark: str, *, held: bool, seconds: float) -> None:  # noqa: ARG002 - for people
        print_json({"held": held, "seconds": round(seconds, 1), "stories": self._stories, "error": self._error})
