"""All stories, in the order in which they are told."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpc.aio

from deploy.local.demo import ad_tracking, amazon_mq, configuration, orders, restart
from deploy.local.demo.expectation import Expectation, StoryResult
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


RESTART = "restart"
"""The story that kills processes; it needs a stack whose processes can be killed."""

STORIES: dict[str, Callable[[Stage], Awaitable[StoryResult]]] = {
    "orders": lambda stage: orders.tell(stage.session),
    "ad-tracking": lambda stage: ad_tracking.tell(stage.session, stage.second_intake),
    "amazon-mq": lambda stage: amazon_mq.tell(stage.session),
    "configuration": lambda stage: configuration.tell(stage.session),
    RESTART: lambda stage: restart.tell(stage.session, stage.kill),
}


async def tell_all(stage: Stage, names: Sequence[str], told: Callable[[StoryResult], None]) -> bool:
    """Tell the named stories; `told` gets each result as soon as there is one. True when every expectation held.

    A story that breaks off does not keep the others from being told: its error is what was received.
    """
    held = True
    for name in names:
        try:
            result = await STORIES[name](stage)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and the demo has failed
            broken = Expectation(what="told to its end", expected="yes", received=_reason(error))
            result = StoryResult(title=name, expectations=[broken])
        told(result)
        held = held and result.held
    return held


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"
