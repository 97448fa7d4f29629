"""The stories on the compose stack: told from inside, as a newcomer does, and the one that kills, from outside."""

import asyncio
import json

from deploy.local.demo import restart
from deploy.local.demo.session import Session
from tests.containers.compose import ComposeStack


async def test_a_newcomer_gets_the_stories_by_one_command(compose: ComposeStack) -> None:
    """`docker compose run --rm demo`, the JMS producer in its container included."""
    printed = await asyncio.to_thread(
        compose.compose, "run", "--rm", "-T", "demo", "cli", "demo", "--in-containers", "--json"
    )
    told = json.loads(printed[printed.index("{") :])
    missed = [e for story in told["stories"] for e in story["expectations"] if not e["held"]]
    assert missed == []
    assert len(told["stories"]) == 4
    assert told["held"]


async def test_bridge_and_broker_killed_within_2000_messages_lose_none(compose: ComposeStack, session: Session) -> None:
    """The restart story, its kills being kill -9 of whole containers that the restart policy brings back."""

    async def kill(name: str) -> None:
        await asyncio.to_thread(compose.crash, name)

    result = await restart.tell(session, kill)
    assert {e.what: e.received for e in result.expectations} == {e.what: e.expected for e in result.expectations}
