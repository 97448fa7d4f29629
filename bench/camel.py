"""A Camel route in a JVM of its own: jars by Maven, source run by the JDK, one route after the other on request."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from deploy.local.home import jar_cache
from deploy.local.jms import JmsClient

JAVA = Path(__file__).with_name("java")
_COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_VERSION = "4.22.0"


class CamelNotFoundError(Exception):
    """Camel cannot be run here; the message says why."""


class Camel:
    """A running Camel context; `move` takes its route to another queue."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def move(self, queue: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{queue}\n".encode())


@asynccontextmanager
async def running_camel(jms: JmsClient, *, broker_url: str, url: str, consumers: int) -> AsyncIterator[Camel]:
    """Camel with JMS and HTTP components. Raises CamelNotFoundError."""
    jars = await _jars()
    if not jms.java.has_compiler:
        raise CamelNotFoundError(f"{jms.java} cannot run Java source: install a JDK")
    process = await asyncio.create_subprocess_exec(
        *(str(jms.java.executable), "-cp", f"{jars}/*", str(JAVA / "CamelHttp.java"), broker_url, url, str(consumers)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "JMS_USER": BROKER_USER, "JMS_PASSWORD": BROKER_PASSWORD},
    )
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise CamelNotFoundError("Camel did not start; its error stands above")
        yield Camel(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _jars() -> Path:
    """Camel's jars, fetched once into the cache of jars."""
    directory = jar_cache() / f"camel-{_VERSION}"
    if directory.is_dir():
        return directory
    if not shutil.which("mvn"):
        raise CamelNotFoundError("Camel's jars are fetched by Maven, and mvn is not on PATH")
    incoming = directory.with_suffix(".incoming")
    maven = await asyncio.create_subprocess_exec(
        *("mvn", "-B", "-q", "-f", str(JAVA / "pom.xml"), _COPY_GOAL, f"-DoutputDirectory={incoming}")
    )
    if await maven.wait():
        raise CamelNotFoundError("Maven could not fetch Camel's jars; its reason stands above")
    incoming.rename(directory)
    return directory
