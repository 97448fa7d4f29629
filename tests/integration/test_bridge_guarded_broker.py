"""A broker as a security-minded team runs it: TLS, client certificates, redelivery by the broker's own plugin."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from penstock.bridge.v1 import bridge_service_pb2

from broker_bridge.settings import BridgeSettings
from deploy.local.activemq import CONFIGURATION
from deploy.local.jms import JmsClient, JmsMessage
from deploy.local.part import PartNotReadyError, PartSpec
from tests.integration.bridge_harness import (
    RecordingService,
    accepted,
    bridge_settings,
    eventually,
    retry,
    running_bridge,
    stored,
)
from tests.integration.conftest import describe_activemq, running
from tests.integration.parts import RunningPart
from tests.integration.test_runtime_tls import Identity, authority

GUARDED = Path(__file__).with_name("activemq_guarded.xml")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The broker, and what it takes to be let in."""

    part: RunningPart
    server: Identity
    client: Identity

    @property
    def url(self) -> str:
        return f"stomp+ssl://{self.part.addresses['stomp']}"

    def settings(self, valkey: RunningPart, **changes: object) -> BridgeSettings:
        files = {
            "broker_tls_ca": self.server.cert,
            "broker_tls_cert": self.client.cert,
            "broker_tls_key": self.client.key,
        }
        return bridge_settings(self.part, valkey, **({"broker_urls": (self.url,)} | files | changes))


def java_stores(directory: Path, *, server: Identity, trusted: Identity, password: bytes) -> None:
    """`server.p12` with certificate and key, `trust.p12` with the certificate of who may connect, for Java."""
    encryption = serialization.BestAvailableEncryption(password)
    key = serialization.load_pem_private_key(server.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate(server.cert.read_bytes())
    store = pkcs12.serialize_key_and_certificates(b"server", key, certificate, None, encryption)
    (directory / "server.p12").write_bytes(store)
    client = x509.load_pem_x509_certificate(trusted.cert.read_bytes())
    entries = [pkcs12.PKCS12Certificate(client, b"client")]
    (directory / "trust.p12").write_bytes(pkcs12.serialize_java_truststore(entries, encryption))


def describe_guarded(data_directory: Path) -> PartSpec:
    spec = describe_activemq(data_directory)
    swap = (CONFIGURATION.as_uri(), GUARDED.as_uri())
    port = int(spec.addresses["openwire"].rpartition(":")[2])

    async def ready() -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise PartNotReadyError(f"port {port}: {error}") from error
        writer.close()

    return replace(spec, argv=tuple(word.replace(*swap) for word in spec.argv), ready=ready)


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    server, client = authority(directory, "server"), authority(directory, "client")
    (directory / "data").mkdir()
    java_stores(directory / "data", server=server, trusted=client, password=b"password")
    async with running(describe_guarded, directory) as part:
        yield Guarded(part=part, server=server, client=client)


@pytest.fixture
def jms(jms: JmsClient, guarded: Guarded) -> JmsClient:
    return replace(jms, broker_url=f"tcp://{guarded.part.addresses['openwire']}")


@pytest.fixture
def queue() -> str:
    return f"guarded-{uuid4().hex[:8]}"


def route(queue: str, service: RecordingService, **more: object) -> dict[str, object]:
    return {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}], **more}


async def test_messages_pass_over_tls_whatever_their_size(
    guarded: Guarded, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """ACKs and large messages cross on the connection, and none is lost or comes twice."""
    sizes = [1, 16 * 1024, MIB, 3 * MIB] * 2
    sent = await asyncio.to_thread(jms.send, queue, [JmsMessage(data=b"x" * size) for size in sizes])
    sent += await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}") for n in range(500)])
    async with running_bridge(guarded.settings(valkey)) as bridge:
        await bridge.put("tls", route(queue, service, batch={"max_messages": 10}))

        async def settled() -> bool:
            return (await bridge.stats("tls")).settled == len(sent)

        await eventually(settled, "all settled")
        stats = await bridge.api.GetStats(bridge_service_pb2.GetStatsRequest())
        assert stats.broker.startswith("stomp+ssl://")
    assert {name for name, count in service.times_delivered.items() if count > 1} == set()
    assert set(service.ids) == set(sent)
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"broker_tls_ca": None}, "the certificate is not trusted: self-signed certificate"),
        ({"broker_urls": "localhost"}, "the certificate is not trusted: Hostname mismatch"),
        ({"broker_tls_cert": None, "broker_tls_key": None}, ""),
        ({"broker_urls": "plain"}, ""),
    ],
    ids=["unknown-authority", "another-name", "no-certificate", "plain-text"],
)
async def test_who_is_not_trusted_is_not_talked_to(
    guarded: Guarded, valkey: RunningPart, changes: dict[str, object], complaint: str, service: RecordingService
) -> None:
    """The reason stands in the health, and nothing hangs."""
    urls = {
        "localhost": guarded.url.replace("127.0.0.1", "localhost"),
        "plain": guarded.url.replace("stomp+ssl", "stomp"),
    }
    if "broker_urls" in changes:
        changes = {"broker_urls": (urls[str(changes["broker_urls"])],)}
    async with running_bridge(guarded.settings(valkey, broker_answer_seconds=3.0, **changes)) as bridge:
        bridge.bridge.apply(stored("refused", route("any", service)))

        def told() -> bool:
            state = bridge.health.get("routes")
            if state is None or state.serving:
                return False
            return "cannot connect" in state.detail and complaint in state.detail

        await eventually(told, f"not serving, because {complaint}")


async def test_the_first_broker_of_the_list_is_returned_to_when_it_is_back(
    guarded: Guarded,
    activemq: RunningPart,
    valkey: RunningPart,
    queue: str,
    service: RecordingService,
    jms: JmsClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Meanwhile the second one serves."""
    monkeypatch.setattr("broker_bridge.session.PROBE_SECONDS", 0.2)
    second = f"stomp://{activemq.addresses['stomp']}"
    settings = guarded.settings(valkey, broker_urls=(guarded.url, second), broker_prefer_first=True)

    async def uses(url: str) -> bool:
        return (await bridge.api.GetStats(bridge_service_pb2.GetStatsRequest())).broker.startswith(url)

    async with running_bridge(settings) as bridge:
        await bridge.put("preferred", route(queue, service))
        assert await uses(guarded.url)
        await guarded.part.stop()
        await eventually(lambda: uses(second), "the second broker serves")
        await guarded.part.start()
        await eventually(lambda: uses(guarded.url), "the first broker serves again")
        await asyncio.to_thread(jms.send, queue, [JmsMessage(text="hello")])
        await eventually(lambda: len(service.messages) == 1, "delivered")


async def test_a_broker_with_the_redelivery_plugin_keeps_refused_messages_itself(
    guarded: Guarded, valkey: RunningPart, queue: str, service: RecordingService, jms: JmsClient
) -> None:
    """Map messages too, which no copy could carry; the last of the attempts makes a dead letter of ours."""
    service.decide = lambda message: accepted() if message.attempt == 2 and message.text != "never" else retry("no")
    sent = [JmsMessage(text="a", properties={"n": 1}), JmsMessage(entries={"a": 1}), JmsMessage(text="never")]
    ids = await asyncio.to_thread(jms.send, queue, sent)
    settings = {"max_attempts": 3, "strategy": "RETRY_STRATEGY_BROKER"}
    async with running_bridge(guarded.settings(valkey)) as bridge:
        await bridge.put("plugin", route(queue, service, retry=settings, accept_empty=True, prefetch=1))

        async def decided() -> bool:
            return (await bridge.stats("plugin")).dead_lettered == 1 and len(service.messages) == 2

        await eventually(decided, "all decided")
        (dead,) = await bridge.dead_letters(queue)
        assert (dead.message.text, dead.attempts, dead.error_class) == ("never", 3, "refused")
    assert {message.id for message in service.messages} == set(ids[:2])
    assert (await asyncio.to_thread(jms.drain, queue)).count == 0


def test_a_context_verifies_by_itself(valkey: RunningPart, guarded: Guarded) -> None:
    """There is no setting that switches it off."""
    context = guarded.settings(valkey).broker_tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
