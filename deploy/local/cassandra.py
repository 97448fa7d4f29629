"""Apache Cassandra itself, run from its jars: one node with a small heap, for tests and for a look at the store.

A node needs a loopback address of its own: all nodes of a cluster share their ports. Logins are on; the superuser is
cassandra/cassandra.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.local.jar_sources import CASSANDRA_JAR_SOURCES
from deploy.local.jars import BrokerJars, broker_jars, read_lock
from deploy.local.java import JavaRuntime, find_java
from deploy.local.part import PartNotReadyError, PartSpec, Progress
from deploy.local.probes import ask

LOCK_FILE = Path(__file__).with_name("cassandra-jars.lock")
_KILLED_BY_SIGTERM = 143
# OPTIONS of the native protocol, version 4: header alone (native_protocol_v4.spec, section 2).
_OPTIONS = bytes.fromhex("040000000500000000")
# From conf/jvm17-server.options of the distribution: what Cassandra reaches into Java for.
_EXPORTS = (
    "java.base/jdk.internal.misc", "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server", "java.sql/java.sql", "java.base/java.lang.ref", "jdk.unsupported/sun.misc",
    "java.base/sun.nio.ch",
)  # fmt: skip
_OPENS = (
    "java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar", "jdk.management/com.sun.management.internal", "java.base/sun.nio.ch",
    "java.base/java.io", "java.base/java.nio", "java.base/java.lang", "java.base/java.util",
    "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/java.net",
    "java.base/java.lang.reflect",
)  # fmt: skip
_LOGGING = """\
<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender">
<encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0} %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="out"/></root>
<logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
<logger name="org.apache.cassandra.transport" level="INFO"/></configuration>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CassandraNode:
    """Where a node listens; its seeds are addresses of nodes that are started before it (or its own).

    `tls` is a PKCS12 key store with the password `cassandra`; clients may then speak TLS on the same port.
    """

    address: str = "127.0.0.1"
    native_port: int
    storage_port: int
    jmx_port: int
    seeds: Sequence[str] = ("127.0.0.1",)
    cluster: str = "penstock"
    datacentre: str = "dc1"
    rack: str = "a"
    tokens: int = 1
    initial_token: str = ""
    heap_megabytes: int = 320
    tls: Path | None = None


def cassandra_part(*, node: CassandraNode, data_directory: Path, cache: Path, progress: Progress) -> PartSpec:
    """Find Java and the jars (fetching them once into `cache`) and describe the node's process.

    Raises:
        PartError: no Java, no jars, or a jar that is not the pinned one.
    """
    java, jars = cassandra_runtime(cache, progress)
    configuration = data_directory / "conf"
    for folder in (configuration, data_directory / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    settings = cassandra_yaml(node, data_directory)
    (configuration / "cassandra.yaml").write_text(json.dumps(settings, indent=1))  # JSON is YAML
    (configuration / "cassandra-rackdc.properties").write_text(f"dc={node.datacentre}\nrack={node.rack}\n")
    (configuration / "logback.xml").write_text(_LOGGING)
    properties = {
        "java.io.tmpdir": data_directory / "tmp",
        "jdk.attach.allowAttachSelf": "true",
        "logback.configurationFile": (configuration / "logback.xml").as_uri(),
        "cassandra.config": (configuration / "cassandra.yaml").as_uri(),
        "cassandra.storagedir": data_directory,
        "cassandra.jmx.local.port": node.jmx_port,
        "cassandra-foreground": "yes",
        "cassandra.native.epoll.enabled": "false",
        # Made for clusters across a network; on one machine every node answers at once.
        "cassandra.ring_delay_ms": 1000,
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.superuser_setup_delay_ms": 0,
    }
    return PartSpec(
        name=f"cassandra-{node.address}",
        argv=(
            str(java.executable), f"-Xms{node.heap_megabytes}m", f"-Xmx{node.heap_megabytes}m", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", "-Xss384k", "-XX:+ExitOnOutOfMemoryError", *_module_options(),
            *(f"-D{key}={value}" for key, value in properties.items()),
            "-cp", f"{configuration}:{jars.class_path}", "org.apache.cassandra.service.CassandraDaemon",
        ),
        environment={},
        data_directory=data_directory,
        addresses={"cql": f"{node.address}:{node.native_port}", "jmx": f"127.0.0.1:{node.jmx_port}"},
        version=f"{jars}, {java}",
        is_real=True,
        ready=partial(cql_answers, node),
        clean_exit_codes=frozenset({0, _KILLED_BY_SIGTERM}),
    )  # fmt: skip


def cassandra_runtime(cache: Path, progress: Progress) -> tuple[JavaRuntime, BrokerJars]:
    """The Java and the class path of Cassandra and its tools.

    Raises:
        PartError: one of them cannot be had.
    """
    pinned = read_lock(LOCK_FILE)
    return find_java(progress), broker_jars(cache, progress, CASSANDRA_JAR_SOURCES, pinned, product="Cassandra")


def nodetool_command(cache: Path, progress: Progress, *, jmx_port: int) -> tuple[str, ...]:
    """The command line of `nodetool` for a node, to which its own arguments are added."""
    java, jars = cassandra_runtime(cache, progress)
    return (
        str(java.executable), "-Xmx64m", "-XX:TieredStopAtLevel=1", *_module_options(), "-cp", jars.class_path,
        "org.apache.cassandra.tools.NodeTool", "-h", "127.0.0.1", "-p", str(jmx_port),
    )  # fmt: skip


def _module_options() -> list[str]:
    exports = [f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS]
    return exports + [f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS]


def cassandra_yaml(node: CassandraNode, data_directory: Path) -> Mapping[str, object]:
    """The node's cassandra.yaml: every write is synchronised before it is acknowledged."""
    settings: dict[str, object] = {
        "cluster_name": node.cluster,
        "num_tokens": node.tokens,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": ",".join(f"{seed}:{node.storage_port}" for seed in node.seeds)}],
            }
        ],
        "listen_address": node.address,
        "rpc_address": node.address,
        "storage_port": node.storage_port,
        "native_transport_port": node.native_port,
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "commitlog_sync": "batch",
        "auto_snapshot": False,
        "data_file_directories": [str(data_directory / "data")],
        **{
            f"{name}_directory": str(data_directory / name)
            for name in ("commitlog", "hints", "saved_caches", "cdc_raw")
        },
    }
    if node.initial_token:
        settings["initial_token"] = node.initial_token
        settings["auto_bootstrap"] = False  # a new cluster holds nothing that a node would have to fetch
    if node.tls:
        settings["client_encryption_options"] = {
            "enabled": True,
            "optional": True,
            "keystore": str(node.tls),
            "keystore_password": "cassandra",
            "store_type": "PKCS12",
        }
    return settings


async def cql_answers(node: CassandraNode) -> None:
    """One OPTIONS request, which needs no login.

    Raises:
        PartNotReadyError: no SUPPORTED within two seconds.
    """
    answer = await ask(node.native_port, _OPTIONS, until=b"CQL_VERSION", name="Cassandra", host=node.address)
    if answer[4:5] != b"\x06":
        raise PartNotReadyError(f"Cassandra on {node.address}:{node.native_port} answers {answer[:40]!r}")
