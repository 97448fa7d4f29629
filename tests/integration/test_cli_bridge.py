"""`penstock routes`, `penstock bridge` and `penstock dlq` against a bridge on a real broker."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from deploy.local.jms import JmsClient, JmsMessage
from deploy.local.ports import free_port_numbers
from tests.integration.bridge_harness import (
    RecordingService,
    RunningBridge,
    bridge_settings,
    eventually,
    rejected,
    running_bridge,
)
from tests.integration.parts import RunningPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    code: int
    out: str
    err: str


async def penstock(*arguments: str) -> Finished:
    """The command in a process of its own, without a terminal."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Finished(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture
def service(service: RecordingService) -> RecordingService:
    service.decide = lambda _message: rejected("not today")
    return service


@pytest.fixture
def port() -> int:
    return free_port_numbers(1)[0]


@pytest.fixture
async def bridge(activemq: RunningPart, valkey: RunningPart, port: int) -> AsyncIterator[RunningBridge]:
    async with running_bridge(bridge_settings(activemq, valkey, port=port)) as running:
        yield running


async def test_an_operator_sees_replays_and_deletes_dead_letters(
    bridge: RunningBridge, service: RecordingService, jms: JmsClient, port: int
) -> None:
    """The commands of a bad day, in their order."""
    queue, target = f"cli-{uuid4().hex[:8]}", ("--target", f"127.0.0.1:{port}")
    await bridge.put("shown", {"source": f"queue://{queue}", "targets": [{"grpc": {"address": service.address}}]})
    await asyncio.to_thread(jms.send, queue, [JmsMessage(text=f"m{n}", properties={"n": n}) for n in range(3)])

    async def given_up() -> bool:
        return (await bridge.stats("shown")).dead_lettered == 3

    await eventually(given_up, "all given up")
    routes = await penstock("routes", "list", *target)
    assert routes.out.split("\t")[:4] == ["shown", f"queue://{queue}", "1 targets", "active"]
    stats = json.loads((await penstock("bridge", "stats", "--json", *target)).out)
    assert stats["routes"][0]["dead_lettered"] == "3"
    assert stats["broker"].startswith("stomp://")
    (line,) = (await penstock("bridge", "stats", *target)).out.splitlines()
    name, received, *counts = line.split("\t")
    assert counts == ["0", "0", "3", "0", "3", "0", "0", "0.0 s", "0", "0", "0", "0", "0"]
    # What was sent ahead comes again when the subscription is renewed to move them.
    assert (name, int(received) >= 3) == ("shown", True)
    listed = await penstock("dlq", "list", queue, *target)
    assert len(listed.out.splitlines()) == 3
    assert "not today" in listed.out
    letters = json.loads((await penstock("dlq", "list", queue, "--json", *target)).out)
    first, second, _ = sorted(letters, key=lambda letter: letter["properties"]["n"])
    assert (first["attempts"], first["class"], first["route"], first["properties"]["n"]) == (1, "refused", "shown", "0")
    shown = await penstock("dlq", "show", queue, first["original_message_id"], *target)
    assert "error" not in shown.err
    assert {"attempts: 1", "class: refused", "property n: 0", "m0"} <= set(shown.out.splitlines())
    whole = json.loads((await penstock("dlq", "show", queue, first["message_id"], "--json", *target)).out)
    assert (whole["message"]["text"], whole["route"]) == ("m0", "shown")
    unknown = await penstock("dlq", "show", queue, "ID:unknown", *target)
    assert unknown.code != 0
    assert "penstock dlq list" in unknown.err
    service.decide = lambda _message: rejected("still not")
    replayed = await penstock("dlq", "replay", queue, first["message_id"], *target)
    assert (replayed.code, replayed.out) == (0, "replayed 1\n")
    purged = await penstock("dlq", "purge", queue, second["message_id"], "--yes", *target)
    assert (purged.code, purged.out) == (0, "purged 1\n")
    asked = await penstock("dlq", "purge", queue, *target)
    assert asked.code != 0
    assert json.loads((await penstock("dlq", "purge", queue, "-y", "--json", *target)).out)["purged"] >= 1


async def test_wrong_input_and_an_absent_bridge_have_their_own_exit_codes(bridge: RunningBridge, port: int) -> None:
    """With a sentence that says what to do."""
    refused = await penstock("dlq", "list", "temp-queue://a", "--target", f"127.0.0.1:{port}")
    assert refused.code == 1
    assert "'temp-queue://a' is not a queue" in refused.err
    assert bridge.bridge.states() == []
    (nobody,) = free_port_numbers(1)
    absent = await penstock("routes", "list", "--target", f"127.0.0.1:{nobody}")
    assert absent.code == 3
    assert "penstock up" in absent.err
