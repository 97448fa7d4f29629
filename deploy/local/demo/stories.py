"""All stories, in the order in which they are told."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from deploy.local.demo import ad_tracking, amazon_mq, configuration, orders, restart
from deploy.local.demo.expectation import StoryResult
from deploy.local.demo.session import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What the stories need of a stack beyond its APIs.

    `kill` ends a process with SIGKILL, by its name; the supervisor starts it again. `second_intake` is the gRPC address
    of a second tracking intake.
    """

    session: Session
    kill: Callable[[str], Awaitable[None]]
    second_intake: str


STORIES: dict[str, Callable[[Stage], Awaitable[StoryResult]]] = {
    "orders": lambda stage: orders.tell(stage.session),
    "ad-tracking": lambda stage: ad_tracking.tell(stage.session, stage.second_intake),
    "amazon-mq": lambda stage: amazon_mq.tell(stage.session),
    "configuration": lambda stage: configuration.tell(stage.session),
    "restart": lambda stage: restart.tell(stage.session, stage.kill),
}


async def tell_all(stage: Stage, names: Sequence[str], told: Callable[[StoryResult], None]) -> bool:
    """Tell the named stories; `told` gets each result as soon as there is one. True when every expectation held."""
    held = True
    for name in names:
        result = await STORIES[name](stage)
        told(result)
        held = held and result.held
    return held
