"""The parts of `conftest.py` as containers: PENSTOCK_TEST_PARTS=containers runs the same tests on them.

A part is `docker run` in the foreground, so that the supervisor sees it live and end; its data is a volume of its own.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from deploy.local.jars import chosen_line
from deploy.local.part import PartSpec
from tests.integration.parts import RunningPart

VARIABLE = "PENSTOCK_TEST_PARTS"
_DATA = {"activemq": "/opt/apache-activemq/data", "valkey": "/data"}


def wanted() -> bool:
    """Whether parts are to be containers. Raises ValueError for a word nobody knows."""
    chosen = os.environ.get(VARIABLE, "processes")
    if chosen not in {"processes", "containers"}:
        raise ValueError(f"{VARIABLE}={chosen!r}: set processes or containers")
    return chosen == "containers"


def image(name: str) -> str:
    """The image of a part: the variable docker-compose.yml reads, else the stand-in."""
    line = chosen_line(os.environ)
    stand_ins = {
        "activemq": ("ACTIVEMQ_IMAGE", f"penstock-standin/activemq:{line}"),
        "valkey": ("VALKEY_IMAGE", "penstock-standin/valkey:dev"),
        "aws-emulator": ("AWS_IMAGE", "penstock-standin/aws:dev"),
    }
    variable, stand_in = stand_ins[name]
    return os.environ.get(variable, stand_in)


def in_container(process: PartSpec) -> PartSpec:
    """The same part, its addresses and its readiness probe included, run by `docker run`."""
    container = f"penstock-test-{process.name}-{uuid4().hex[:8]}"
    published: list[str] = []
    for number, address in zip(_inner_ports(process.name), process.addresses.values(), strict=True):
        published += ["--publish", f"{address}:{number}"]
    environment: Mapping[str, str] = _environment(process)
    variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    volumes = ["--volume", f"{container}:{_DATA[process.name]}"] if process.name in _DATA else []
    limits = ["--memory", "1g"]
    argv = (
        "docker",
        "run",
        "--rm",
        "--name",
        container,
        *limits,
        *published,
        *variables,
        *volumes,
        image(process.name),
    )
    return replace(
        process,
        argv=(*argv, *_command(process.name)),
        environment={},
        version=f"container of {image(process.name)}",
        clean_exit_codes=process.clean_exit_codes | {0, 143},
    )


def _inner_ports(name: str) -> Sequence[int]:
    """In the order of the part's addresses."""
    return {"activemq": (61613, 61616), "valkey": (6379,), "aws-emulator": (5000,)}[name]


def _environment(process: PartSpec) -> Mapping[str, str]:
    if process.name != "activemq":
        return {}
    login = {name: process.environment[name] for name in ("BROKER_USER", "BROKER_PASSWORD")}
    return {**login, "BROKER_HOST": "0.0.0.0", "BROKER_DATA": _DATA["activemq"]}


def _command(name: str) -> Sequence[str]:
    if name != "valkey":
        return ()
    return ("valkey-server", "--protected-mode", "no", "--appendonly", "yes", "--save", "", "--dir", "/data")


class ContainerPart(RunningPart):
    """A part in a container. `kill` ends the container itself, not the client that shows its output."""

    @property
    def container(self) -> str:
        return self.spec.argv[self.spec.argv.index("--name") + 1]

    async def kill(self) -> None:
        """End it by SIGKILL; it stays down until `start`."""
        await asyncio.to_thread(_docker, "kill", "--signal", "KILL", self.container)
        await self._supervisor.stop_one(self.spec.name)
        await self._gone()

    def pause(self) -> None:
        """Freeze all of its processes, until `resume`."""
        subprocess.run(["docker", "pause", self.container], capture_output=True, check=True, timeout=60)

    def resume(self) -> None:
        subprocess.run(["docker", "unpause", self.container], capture_output=True, check=True, timeout=60)

    async def stop(self) -> None:
        """End it in its own way (SIGTERM); it stays down until `start`."""
        await super().stop()
        await self._gone()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def remove_data(self) -> None:
        """Remove the volume of a part that has ended."""
        await asyncio.to_thread(_docker, "volume", "rm", "--force", self.container)

    async def _gone(self) -> None:
        """`--rm` removes it a moment after it has ended; until then its name is taken."""
        await asyncio.to_thread(_docker, "wait", self.container)


def _docker(*arguments: str) -> None:
    """A container that is gone already is what was wanted."""
    subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=60)
