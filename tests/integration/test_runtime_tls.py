"""TLS between server and channel, with certificates made for the test."""

import datetime as dt
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

from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard
from services.runtime.server import listening
from services.runtime.settings import ServiceSettings


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
