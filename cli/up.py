"""`penstock up`, `down` and `status`: the embedded stack on this machine."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.connection import EXIT_REFUSED, EXIT_UNREACHABLE, usage_error
from cli.screen import JsonScreen, Screen, TextScreen

if TYPE_CHECKING:
    from deploy.local.home import Home

_POLL_SECONDS = 0.1
_END_SECONDS = 60.0

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="PENSTOCK_HOME", file_okay=False, help="Folder of data and logs, by default .penstock."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    home: HomeOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready; leave it running.")
    ] = False,
    port_offset: Annotated[
        int, typer.Option(envvar="PENSTOCK_PORT_OFFSET", help="Move every default port by this number.")
    ] = 0,
    functions: Annotated[
        Path | None,
        typer.Option(envvar="PENSTOCK_FUNCTIONS", exists=True, dir_okay=False, help="TOML or JSON file of functions."),
    ] = None,
    logs: Annotated[bool, typer.Option("--logs", help="Show the processes' logs, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole suite with a real broker on this machine, until Ctrl-C or `penstock down`.

    Settings of the services are taken from the environment, except addresses and files of the stack itself.
    """
    screen = _screen(as_json)
    if detach:
        offset, more = f"--port-offset={port_offset}", [f"--functions={functions.resolve()}"] if functions else []
        _up_in_background(_home(home), screen, [offset, *more])
    else:
        _up_in_foreground(_home(home), screen, port_offset=port_offset, functions=functions, logs=logs)


def down(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """End the stack that runs on a home folder, and wait until all of it is gone."""
    place = _home(home)
    pid = place.owner()
    if pid is None:
        _tell(as_json, {"event": "nothing"}, f"nothing runs on {place.path}")
        return
    os.kill(pid, signal.SIGTERM)
    if not _ended(place):
        os.kill(pid, signal.SIGKILL)  # its children die with it
        _ended(place)
    _tell(as_json, {"event": "stopped", "pid": pid}, f"the stack on {place.path} (pid {pid}) has ended")


def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what runs on a home folder. Exit code 3 when nothing does."""
    place = _home(home)
    state = place.read_state() if place.owner() is not None else None
    if state is None:
        _tell(as_json, {"event": "nothing"}, f"nothing runs on {place.path}")
        raise typer.Exit(EXIT_UNREACHABLE)
    _screen(as_json).show({"event": "ready", "stack": state})


def _up_in_foreground(home: "Home", screen: Screen, *, port_offset: int, functions: Path | None, logs: bool) -> None:
    from deploy.local.follow import LogFollower  # noqa: PLC0415 - see the package
    from deploy.local.foreground import run_until_signal  # noqa: PLC0415
    from deploy.local.home import HomeInUseError  # noqa: PLC0415
    from deploy.local.part import PartError  # noqa: PLC0415
    from deploy.local.ports import PortTakenError, default_ports  # noqa: PLC0415
    from deploy.local.stack import DEMO_FUNCTIONS, EmbeddedStack  # noqa: PLC0415
    from deploy.local.supervisor import ProcessEvent, StartError  # noqa: PLC0415

    class Steps:
        def step(self, text: str) -> None:
            screen.show({"event": "step", "text": text})

    def happened(event: ProcessEvent) -> None:
        screen.show({"event": "process", "name": event.name, "state": event.state, "detail": event.detail})

    try:
        ports = default_ports(port_offset)
    except ValueError as error:
        usage_error(str(error))
    stack = EmbeddedStack(
        home=home.path, ports=ports, functions=functions or DEMO_FUNCTIONS, progress=Steps(), on_event=happened
    )
    follower = LogFollower(
        stack.home.logs, show=lambda name, line: screen.show({"event": "log", "process": name, "line": line})
    )

    async def run() -> None:
        following = asyncio.create_task(follower.run()) if logs else None
        await run_until_signal(
            stack,
            ready=lambda: screen.show({"event": "ready", "stack": stack.state()}),
            stopping=lambda reason: screen.show({"event": "stopping", "reason": reason}),
        )
        if following is not None:
            following.cancel()

    try:
        asyncio.run(run())
    except (HomeInUseError, PartError, PortTakenError, StartError) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the folder {home.path} cannot be used: {error}")
    screen.show({"event": "stopped"})


def _up_in_background(home: "Home", screen: Screen, options: Sequence[str]) -> None:
    """Start the foreground command in a session of its own and show what it says until everything is ready."""
    from deploy.local.home import HomeInUseError  # noqa: PLC0415 - see the package

    path = home.logs / "stack.log"
    argv = [sys.executable, "-m", "cli", "up", "--json", "--home", str(home.path), *options]
    try:
        home.acquire()  # before the log of a stack that runs is overwritten
        home.release()
        home.logs.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - this program itself
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except HomeInUseError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"the folder {home.path} cannot be used: {error}")
    try:
        ready = _show_until_ready(path, process, screen)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise typer.Exit(130) from None
    if not ready:
        if path.stat().st_size == 0:
            _refuse(
                f"the stack ended (exit code {process.returncode}) and could not write to {path}: is the disk full?"
            )
        raise typer.Exit(EXIT_REFUSED)


def _show_until_ready(path: Path, process: "subprocess.Popen[bytes]", screen: Screen) -> bool:
    import json  # noqa: PLC0415

    pending = ""
    with path.open(encoding="utf-8") as log:
        while True:
            ended = process.poll() is not None  # asked before reading: what it wrote last is read after its end
            *lines, pending = (pending + log.read()).split("\n")
            for line in lines:
                if not line.startswith("{"):
                    print(line, file=sys.stderr)
                    continue
                document = json.loads(line)
                screen.show(document)
                if document["event"] == "ready":
                    return True
            if ended:
                return False
            time.sleep(_POLL_SECONDS)


def _refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_REFUSED)


def _ended(home: "Home") -> bool:
    """Wait until nobody holds the folder; False after a minute."""
    deadline = time.monotonic() + _END_SECONDS
    while home.owner() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _home(chosen: Path | None) -> "Home":
    from deploy.local.home import Home, default_home  # noqa: PLC0415 - see the package

    return Home(chosen.resolve() if chosen else default_home({}))


def _screen(as_json: bool) -> Screen:
    return JsonScreen() if as_json else TextScreen()


def _tell(as_json: bool, document: dict[str, Any], text: str) -> None:
    if as_json:
        JsonScreen().show(document)
    else:
        print(text)
