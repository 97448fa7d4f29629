"""A real Cassandra for tests: started once, from its jars on Maven Central."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from deploy.local.cassandra import CassandraNode, cassandra_part
from deploy.local.home import jar_cache
from deploy.local.part import PartError, PartSpec, SilentProgress
from deploy.local.ports import free_port_numbers
from services.persistence.cassandra_session import CassandraTarget
from tests.integration.conftest import running
from tests.integration.parts import RunningPart
from tests.integration.test_runtime_tls import Identity, authority

USER, PASSWORD = "cassandra", "cassandra"
KEYSPACE = "penstock_test"


def describe(data_directory: Path, node: CassandraNode) -> PartSpec:
    try:
        return cassandra_part(node=node, data_directory=data_directory, cache=jar_cache(), progress=SilentProgress())
    except PartError as error:
        pytest.skip(f"no Cassandra on this machine: {error}")


def new_node(**settings: Any) -> CassandraNode:
    native, storage, jmx = free_port_numbers(3)
    return CassandraNode(**{"native_port": native, "storage_port": storage, "jmx_port": jmx, **settings})


@asynccontextmanager
async def cassandra(directory: Path) -> AsyncIterator[tuple[RunningPart, Identity]]:
    """One node with logins and TLS beside plain text, and the authority of its certificate."""
    identity = authority(directory, "cassandra")
    node = new_node(tls=_key_store(identity, directory / "cassandra.p12"))
    async with running(partial(describe, node=node), directory) as part:
        yield part, identity


def target(part: RunningPart, **settings: Any) -> CassandraTarget:
    host, _, port = part.addresses["cql"].partition(":")
    return CassandraTarget(
        **{
            "contact_points": [host],
            "port": int(port),
            "datacentre": "dc1",
            "keyspace": KEYSPACE,
            "replication": {"dc1": 1},
            "user": USER,
            "password": PASSWORD,
            **settings,
        }
    )


def administrator(part: RunningPart) -> Cluster:
    """The driver as an administrator would use it; shut it down."""
    host, _, port = part.addresses["cql"].partition(":")
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([host]),
        consistency_level=ConsistencyLevel.ONE,
        request_timeout=60.0,
    )
    return Cluster(
        [host],
        port=int(port),
        protocol_version=5,
        auth_provider=PlainTextAuthProvider(USER, PASSWORD),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )


def _key_store(identity: Identity, path: Path) -> Path:
    key = serialization.load_pem_private_key(identity.key.read_bytes(), password=None)
    certificate = x509.load_pem_x509_certificate(identity.cert.read_bytes())
    password = serialization.BestAvailableEncryption(PASSWORD.encode())
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(b"cassandra", key, certificate, None, password)  # type: ignore[arg-type]
    )
    return path
