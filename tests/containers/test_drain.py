"""`docker stop` under load: every process finishes what it has begun, within its grace period, with exit code 0."""

import asyncio
from uuid import uuid4

import pytest

from deploy.local.demo.session import Session
from tests.containers.compose import ComposeStack, eventually
from tests.containers.load import under_load


@pytest.mark.parametrize("service", ["bridge", "tracking", "persistence"])
async def test_docker_stop_drains_under_load(compose: ComposeStack, session: Session, service: str) -> None:
    """Had the engine to kill after stop_grace_period, 137 were the exit code. Nothing confirmed is missing."""
    async with under_load(session, f"drain-{uuid4().hex[:8]}") as load:
        await asyncio.to_thread(_some_confirmed, load.confirmed)
        await asyncio.to_thread(compose.compose, "stop", service)
        state = compose.inspect(service)["State"]
        await asyncio.to_thread(compose.up, service)
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), compose.logs(service)[-20:]
    assert load.failed == []
    assert load.missing == set()


def _some_confirmed(confirmed: set[str]) -> None:
    eventually(lambda: len(confirmed) >= 60, "the load to flow")
