"""What one test puts into a suite that many share: under names of its own, and gone at its end."""

import re
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

from penstock.bridge.v1.route_pb2 import Route
from penstock.delivery.v1.target_pb2 import Target
from penstock.filtering.v1.subscription_pb2 import FilterDialect
from penstock.testing.recorder import Recorder
from penstock.testing.suite import PenstockSuite

from services.runtime.errors import NotFoundError

_LONGEST_STEM = 60  # a route's name has at most 128 characters
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class Workspace:
    """Unique names, and routes, subscriptions and recorders that end with the `with` block, in reverse order.

    Messages and dead letters stay in the broker, in queues that no other test knows. A part that is down at the end
    makes the clean-up fail after 30 s: start again what you stop.
    """

    def __init__(self, suite: PenstockSuite, stem: str) -> None:
        self._suite = suite
        self._stem = f"{_NOT_IN_NAMES.sub('-', stem)[:_LONGEST_STEM].strip('-')}-{secrets.token_hex(4)}"
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def queue(self) -> str:
        """A queue of its own, without `queue://`."""
        return self._stem

    @property
    def topic(self) -> str:
        """A topic of filter policies of its own."""
        return self._stem

    def name(self, suffix: str) -> str:
        """A further unique name."""
        return f"{self._stem}-{suffix}"

    def recorder(self) -> Recorder:
        """A target in this process, closed at the end."""
        return self._resources.enter_context(self._suite.recorder())

    def put_route(self, route: Route | Mapping[str, Any], name: str = "") -> str:
        """Store a route and wait until it is in force; its name. See `PenstockSuite.put_route`."""
        name = name or self._stem
        self._resources.callback(self._delete_route, name)
        self._suite.put_route(name, route)
        return name

    def _delete_route(self, name: str) -> None:
        with suppress(NotFoundError):  # it was refused, or the test deleted it
            self._suite.delete_route(name)

    def put_subscription(
        self,
        name: str,
        target: Target | Mapping[str, Any],
        filter_policy: str | Mapping[str, Any] = "",
        *,
        dialect: FilterDialect = FilterDialect.FILTER_DIALECT_SNS_ATTRIBUTES,
    ) -> None:
        """Store a subscription of the topic `topic`. See `PenstockSuite.put_subscription`."""
        self._suite.put_subscription(self.topic, name, target, filter_policy, dialect=dialect)
        self._resources.callback(self._suite.delete_subscription, self.topic, name)
