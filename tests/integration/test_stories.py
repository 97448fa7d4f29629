"""The acceptance stories on the embedded stack: the demo shows them, these tests insist on them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.demo import orders
from deploy.local.demo.expectation import StoryResult
from deploy.local.demo.session import open_session
from deploy.local.demo.stories import STORIES, Stage
from deploy.local.jms import find_jms_client
from deploy.local.stack import EmbeddedStack


@pytest.fixture(scope="module")
async def stage(stack: EmbeddedStack) -> AsyncIterator[Stage]:
    """The shared stack with a second intake beside it."""
    jms = await asyncio.to_thread(find_jms_client, f"tcp://{stack.ports.address('openwire')}")
    second = await stack.start_extra("tracking-stories", like="tracking")

    async def kill(name: str) -> None:
        stack.kill(name)

    async with open_session(stack.ports, jms) as session:
        yield Stage(session=session, kill=kill, second_intake=second["grpc"])


def assert_held(result: StoryResult) -> None:
    """Every expectation, so that a failure shows what came instead."""
    assert {e.what: e.received for e in result.expectations} == {e.what: e.expected for e in result.expectations}
    assert result.held


@pytest.mark.parametrize("name", STORIES)
async def test_the_story_comes_true(stage: Stage, name: str) -> None:
    """Each story of the demo, told on real parts."""
    assert_held(await STORIES[name](stage))


async def test_a_story_comes_true_again_on_the_data_it_left(stage: Stage) -> None:
    """A second telling finds queues, rows and routes of the first and still holds."""
    assert_held(await STORIES["orders"](stage))
    assert_held(await STORIES["ad-tracking"](stage))


async def test_a_wrong_policy_makes_the_story_fail(stage: Stage, tmp_path: Path) -> None:
    """The demo can fail: with the two locations swapped, two orders land in the wrong place and the others do not."""
    text = await asyncio.to_thread(orders.SUBSCRIPTIONS.read_text)
    swapped = text.replace("Asia-Pacific-", "?").replace("Europe-", "Asia-Pacific-").replace("?", "Europe-")
    assert json.loads(swapped) != json.loads(text)
    path = tmp_path / "subscriptions.json"
    path.write_text(swapped)
    try:
        result = await orders.tell(stage.session, subscriptions=path)
        assert not result.held
        assert [e.received for e in result.expectations if not e.held] == ["Lab-Orders-EU", "Lab-Orders-AP"]
    finally:
        await orders.put_subscriptions(stage.session)
