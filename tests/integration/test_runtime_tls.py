"""TLS between server and channel, with certificates made for the test."""

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from penstock.filtering.v1 import filtering_service_pb2

from broker_bridge.filtering import FilteringUnavailableError
from broker_bridge.opening import open_parts
from broker_bridge.settings import BridgeSettings
from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard
from services.runtime.server import listening
from services.runtime.settings import ServiceSettings
from tests.integration.bridge_harness import TableFilter
from tests.integration.config_fake import fake_config

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate and its key on disk."""

    cert: Path
    key: Path


def authority(directory: Path, name: str) -> Identity:
    """A self-signed certificate for 127.0.0.1, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    identity = Identity(cert=directory / f"{name}.pem", key=directory / f"{name}.key")
    identity.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return identity


def nothing(_server: grpc.aio.Server) -> Sequence[str]:
    """No services besides health."""
    return ()


async def healthy(channel: grpc.aio.Channel) -> bool:
    """Asks over the channel; raises what the call raises."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    response = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def test_call_over_tls_needs_the_authority(tmp_path: Path) -> None:
    """The right authority connects; plain text and a stranger's do not."""
    server, stranger = authority(tmp_path, "server"), authority(tmp_path, "stranger")
    settings = ServiceSettings(tls_cert=server.cert, tls_key=server.key, drain_seconds=0)
    async with listening(settings=settings, register=nothing, health=HealthBoard()) as address:
        async with open_channel(address, tls_ca=server.cert) as channel:
            assert await healthy(channel)
        for wrong in (open_channel(address), open_channel(address, tls_ca=stranger.cert)):
            async with wrong as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await healthy(channel)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_client_without_certificate_is_refused_where_one_is_wanted(tmp_path: Path) -> None:
    """Mutual TLS: the server knows its callers."""
    server, client = authority(tmp_path, "server"), authority(tmp_path, "client")
    settings = ServiceSettings(tls_cert=server.cert, tls_key=server.key, tls_client_ca=client.cert, drain_seconds=0)
    async with listening(settings=settings, register=nothing, health=HealthBoard()) as address:
        async with open_channel(address, tls_ca=server.cert, tls_cert=client.cert, tls_key=client.key) as channel:
            assert await healthy(channel)
        async with open_channel(address, tls_ca=server.cert) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await healthy(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("module", ["services.filtering", "broker_bridge"])
async def test_config_service_is_followed_over_tls(module: str, tmp_path: Path) -> None:
    """Those who watch parameters are told the authority of the config service."""
    server, config = authority(tmp_path, "server"), fake_config()
    settings = {"PORT": "0", "METRICS_PORT": "0", "CONFIG_TARGET": config.address, "CONFIG_TLS_CA": str(server.cert)}
    prefix = "PENSTOCK_BRIDGE_" if module == "broker_bridge" else "PENSTOCK_FILTERING_"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment |= {f"{prefix}{name}": value for name, value in settings.items()}
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'protos' / 'gen'}"
    await config.start(tls_cert=server.cert, tls_key=server.key)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr
        async with asyncio.timeout(60):  # so that a failure ends
            while "following" not in json.loads(await process.stderr.readline())["event"]:
                pass
    finally:
        process.kill()
        await process.communicate()
        await config.stop()
    assert config.watches_from == [0]


async def test_bridge_asks_the_filtering_service_over_tls(tmp_path: Path) -> None:
    """With its authority; without, the health says that it does not answer."""
    server = authority(tmp_path, "server")
    table = TableFilter(lambda _request: filtering_service_pb2.BatchMatchMessagesResponse())  # type: ignore[abstract]
    listener = ServiceSettings(tls_cert=server.cert, tls_key=server.key, drain_seconds=0)
    async with listening(settings=listener, register=table._register, health=HealthBoard()) as address:
        for tls_ca, detail in ((server.cert, ""), (None, "the filtering service does not answer")):
            health = HealthBoard()
            settings = BridgeSettings(filtering_target=address, filtering_tls_ca=tls_ca)
            async with open_parts(settings, health) as parts:
                with contextlib.suppress(FilteringUnavailableError):
                    await parts.message_filter.match("Orders", [])
            state = health.get("filtering")
            assert state is not None
            assert state.detail.startswith(detail)
            assert bool(state.detail) == bool(detail)
    assert len(table.requests) == 1
