"""ActiveMQ Classic itself, run from its jars: STOMP for the bridge, OpenWire for JMS producers, KahaDB on disk."""

import fcntl
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from signal import SIGTERM

from deploy.local.jar_sources import jar_sources
from deploy.local.jars import LOCK_FILES, broker_jars, chosen_line, read_lock
from deploy.local.java import find_java
from deploy.local.part import PartError, PartNotReadyError, PartSpec, Progress
from deploy.local.probes import ask

BROKER_USER = "penstock"
BROKER_PASSWORD = "penstock"  # noqa: S105 - the login of a broker that listens on loopback alone
CONFIGURATION = Path(__file__).with_name("activemq.xml")
_KILLED_BY_SIGTERM = 143
_LOGGING = {
    "showDateTime": "true",
    "dateTimeFormat": "HH:mm:ss.SSS",
    "showThreadName": "false",
    "showShortLogName": "true",
    "log.org.springframework": "warn",
    "log.org.apache.xbean": "warn",
    # "Could not accept connection" at every stop that meets a connecting client.
    "log.org.apache.activemq.transport.tcp.TcpTransportServer": "error",
}


class DataDirectoryInUseError(PartError):
    """Another broker runs on the data folder."""


def activemq_part(
    *,
    home: Path,
    data_directory: Path,
    stomp_port: int,
    openwire_port: int,
    cache: Path,
    progress: Progress,
    user: str = BROKER_USER,
    password: str = BROKER_PASSWORD,
    environ: Mapping[str, str] | None = None,
    line: str | None = None,
) -> PartSpec:
    """Find Java and the jars (fetching them once into `cache`) and describe the broker's process.

    `line` is the line of ActiveMQ Classic to run, 5.18 or 6.1; None takes the one PENSTOCK_ACTIVEMQ names.

    `home` is where the broker looks for its own files; `data_directory` holds queues and scheduled messages and
    belongs to one broker at a time.

    Raises:
        DataDirectoryInUseError: another broker runs on `data_directory`.
        PartError: no Java, no jars, or a jar that is not the pinned one.
    """
    _refuse_locked(data_directory)
    java = find_java(progress, environ)
    line = line or chosen_line(os.environ if environ is None else environ)
    jars = broker_jars(cache, progress, jar_sources(line), read_lock(LOCK_FILES[line]))
    # Java's user.home and temporary files stay inside the stack's own folder.
    temporary = data_directory / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return PartSpec(
        name="activemq",
        argv=(
            str(java.executable), "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
            f"-Djava.io.tmpdir={temporary}", f"-Dactivemq.home={home}", f"-Dactivemq.base={home}",
            f"-Dactivemq.data={data_directory}",
            *(f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _LOGGING.items()),
            "-cp", jars.class_path, "org.apache.activemq.console.Main", "start", f"xbean:{CONFIGURATION.as_uri()}",
        ),
        environment={
            "BROKER_DATA": str(data_directory),
            "BROKER_HOST": "127.0.0.1",
            "BROKER_STOMP_PORT": str(stomp_port),
            "BROKER_OPENWIRE_PORT": str(openwire_port),
            "BROKER_USER": user,
            "BROKER_PASSWORD": password,
        },
        data_directory=data_directory,
        addresses={"stomp": f"127.0.0.1:{stomp_port}", "openwire": f"127.0.0.1:{openwire_port}"},
        version=f"{jars}, {java}",
        is_real=True,
        ready=partial(stomp_answers, stomp_port, user, password),
        stop_signal=SIGTERM,
        clean_exit_codes=frozenset({0, _KILLED_BY_SIGTERM}),
    )  # fmt: skip


def _refuse_locked(data_directory: Path) -> None:
    """Try the lock that a running broker holds on its store. Closing the file gives it back at once."""
    lock = data_directory / "kahadb" / "lock"
    if not lock.exists():
        return
    with lock.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirectoryInUseError(
                f"another broker runs on {data_directory}: stop it, or choose another folder (PENSTOCK_HOME)"
            ) from error


async def stomp_answers(port: int, user: str, password: str) -> None:
    """One STOMP CONNECT. An open port alone proves nothing: the broker opens it before its store.

    Raises:
        PartNotReadyError: no CONNECTED within two seconds, or ERROR, whose message is passed on.
    """
    connect = f"CONNECT\naccept-version:1.2\nhost:localhost\nlogin:{user}\npasscode:{password}\n\n\0"
    answer = await ask(port, connect.encode(), until=b"\0", name="ActiveMQ")
    if not answer.lstrip().startswith(b"CONNECTED"):
        header = next((line for line in answer.decode(errors="replace").splitlines() if line.startswith("message")), "")
        raise PartNotReadyError(f"ActiveMQ on port {port} refuses the login: {header or answer[:80]!r}")
