"""The embedded broker on a disk that is really full. Needs the right to mount one."""

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker_bridge.activemq import ActiveMq
from broker_bridge.broker import BrokerAddress, BrokerError, Login
from broker_bridge.sender import Sender, Sending
from broker_bridge.visit import Visit
from deploy.local.activemq import BROKER_PASSWORD, BROKER_USER
from tests.integration.bridge_harness import eventually
from tests.integration.conftest import describe_activemq, running

MIB = 1024 * 1024
DISK, ROOM, BODY = 96, 10, 50_000
LOGIN = Login(BROKER_USER, BROKER_PASSWORD)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB where the broker keeps its data."""
    data = tmp_path / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(data)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield data
    subprocess.run(["umount", "--lazy", str(data)], check=True)


async def test_a_full_disk_ends_the_broker_and_costs_no_confirmed_message(disk: Path, tmp_path: Path) -> None:
    """It does not go on with an index of which half is written."""
    async with running(describe_activemq, tmp_path) as broker:
        address = BrokerAddress("127.0.0.1", broker.port("stomp"))
        sender = Sender(ActiveMq(LOGIN), [address])
        sending = Sending(headers={"destination": "/queue/full", "persistent": "true"}, body=b"x" * BODY)
        await sender.send([sending])
        fill(disk)
        confirmed = 1 + await confirmed_until_refused(sender, sending)
        await sender.close()
        assert 1 < confirmed < ROOM * MIB / BODY
        log = tmp_path / "logs" / "activemq.log"
        await eventually(
            lambda: "Stopping BrokerService[penstock] due to" in log.read_text(), "the broker ends", patience=20
        )
        await broker.kill()
        (disk / "ballast").unlink()
        await broker.start()
        async with Visit(ActiveMq(LOGIN), [address]) as visit:
            left = [headers["message-id"] async for headers, _ in visit.browse("queue://full")]
        assert len(left) == confirmed


async def confirmed_until_refused(sender: Sender, sending: Sending) -> int:
    """How many sendings the broker confirms before the first that it does not."""
    for number in itertools.count():
        try:
            await sender.send([sending])
        except BrokerError:
            return number
    raise AssertionError


def fill(disk: Path) -> None:
    """Leaves 10 MiB, as another program may: the limits of a running broker do not notice."""
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - ROOM * MIB))
