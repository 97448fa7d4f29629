"""A target in the test process: a `DeliveryService` that keeps what the bridge delivers and answers as it is told."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from penstock.delivery.v1 import delivery_service_pb2 as pb
from penstock.delivery.v1 import delivery_service_pb2_grpc as delivery_grpc
from penstock.delivery.v1.broker_message_pb2 import BrokerMessage, PropertyValue
from penstock.testing.errors import RecorderError, WaitError
from penstock.testing.parts import Listening

DEFAULT_SECONDS = 30.0
"""How long a wait lasts at most unless told otherwise."""
_MAX_BYTES = 16 * 1024 * 1024  # what the services take
_SHOWN = 10

PropertyType = str | int | float | bool | bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a recorder answers for one message; made by `accept`, `reject` and `retry`."""

    outcome: pb.DeliveryOutcome
    reason: str = ""
    retry_after_seconds: float | None = None

    def result(self) -> pb.DeliveryResult:
        """The decision as the bridge is told it."""
        result = pb.DeliveryResult(outcome=self.outcome, reason=self.reason)
        if self.retry_after_seconds is not None:
            result.retry_after.FromMilliseconds(round(self.retry_after_seconds * 1000))
        return result


def accept() -> Decision:
    """The message is worked off: the bridge settles it."""
    return Decision(outcome=pb.DELIVERY_OUTCOME_ACCEPTED)


def reject(reason: str) -> Decision:
    """The message can never be worked off: it becomes a dead letter with this reason (at most 1000 characters)."""
    return Decision(outcome=pb.DELIVERY_OUTCOME_REJECTED, reason=reason)


def retry(reason: str = "", *, after_seconds: float | None = None) -> Decision:
    """Not now: the bridge delivers the message again.

    Without `after_seconds` the wait is the route's and the attempt counts towards its `max_attempts`; with it (3600 at
    most) the wait is that one and the attempt is free.
    """
    return Decision(outcome=pb.DELIVERY_OUTCOME_RETRY, reason=reason, retry_after_seconds=after_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One attempt to deliver one message, and what the recorder answered."""

    message: BrokerMessage
    route: str
    subscription: str
    decision: Decision

    @property
    def id(self) -> str:
        """JMSMessageID, the same at every attempt."""
        return self.message.id

    @property
    def attempt(self) -> int:
        """Which attempt the bridge says it is, counted from 1."""
        return self.message.attempt

    @property
    def accepted(self) -> bool:
        """Whether the recorder took it."""
        return self.decision.outcome == pb.DELIVERY_OUTCOME_ACCEPTED

    @property
    def text(self) -> str | None:
        """Body of a text message; None for any other."""
        return self.message.text if self.message.WhichOneof("body") == "text" else None

    @property
    def data(self) -> bytes | None:
        """Body of a bytes message; None for any other."""
        return self.message.data if self.message.WhichOneof("body") == "data" else None

    @property
    def properties(self) -> Mapping[str, PropertyType]:
        """JMS properties; text unless the route declares `property_types`."""
        return {name: _plain(value) for name, value in self.message.properties.items()}

    def __str__(self) -> str:
        body = self.text if self.text is not None else self.data
        answer = pb.DeliveryOutcome.Name(self.decision.outcome).removeprefix("DELIVERY_OUTCOME_")
        return f"{self.id} by route {self.route}, attempt {self.attempt}, {body!r:.80}: {answer}"


class Recorder:
    """Serves from `with` to its end. Its methods may be called from any thread.

    It accepts everything unless told otherwise by `answers` or `decides`.
    """

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._changed = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._script: deque[Decision] = deque()
        self._decide: Callable[[BrokerMessage], Decision] = lambda _message: accept()
        self._failure: Exception | None = None
        self._port = 0
        self._server: grpc.Server | None = None

    def __enter__(self) -> Self:
        """Listen at a free port. Raises `RecorderError` when the host is no address of this machine."""
        server = grpc.server(
            ThreadPoolExecutor(8, thread_name_prefix="recorder"),
            options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_BYTES)),
        )
        delivery_grpc.add_DeliveryServiceServicer_to_server(_Servicer(self._take), server)
        host = self._listening.bind_host
        try:
            self._port = server.add_insecure_port(f"{host}:0")
        except RuntimeError as error:
            raise RecorderError(
                f"the recorder cannot listen on {host}: is the Docker engine on this machine? ({error})"
            ) from error
        server.start()
        self._server = server
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop(grace=None).wait()

    @property
    def address(self) -> str:
        """`host:port` as the bridge reaches it, in containers and outside."""
        return f"{self._listening.reached_as}:{self._port}"

    @property
    def target(self) -> Mapping[str, Mapping[str, str]]:
        """The target for a route or a subscription, in its JSON form."""
        return {"grpc": {"address": self.address}}

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Every attempt so far, in the order they came."""
        with self._changed:
            return list(self._deliveries)

    def answers(self, *decisions: Decision) -> None:
        """Answer the next messages with these, one each; after them as before."""
        with self._changed:
            self._script.extend(decisions)

    def decides(self, decide: Callable[[BrokerMessage], Decision]) -> None:
        """Let `decide` answer from now on, where no scripted answer is left. It is called with one message at a time.

        An exception it raises fails the delivery, which the bridge tries again, and comes out of `await_deliveries`.
        """
        with self._changed:
            self._decide = decide

    def await_deliveries(
        self,
        count: int,
        timeout: float = DEFAULT_SECONDS,
        *,
        where: Callable[[Delivery], bool] = lambda _delivery: True,
    ) -> Sequence[Delivery]:
        """All deliveries for which `where` holds, once there are at least `count`: every attempt counts as one.

        Raises:
            WaitError: there were fewer after `timeout` seconds; the message lists what came.
            RecorderError: the function given to `decides` raised.
        """
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                if self._failure is not None:
                    raise RecorderError(f"the decision of the test raised {self._failure!r}") from self._failure
                matching = [delivery for delivery in self._deliveries if where(delivery)]
                if len(matching) >= count:
                    return matching
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    raise WaitError(self._missing(count, len(matching), timeout))

    def _missing(self, count: int, found: int, timeout: float) -> str:
        came = [f"  {delivery}" for delivery in self._deliveries[-_SHOWN:]] or ["  nothing"]
        return "\n".join([f"{found} of {count} deliveries after {timeout:g} s; the last that came:", *came])

    def _take(self, request: pb.DeliverMessagesRequest) -> Sequence[Decision]:
        with self._changed:
            try:
                decisions = [
                    self._script.popleft() if self._script else self._decide(message) for message in request.messages
                ]
            except Exception as error:
                self._failure = error
                raise
            else:
                self._deliveries += [
                    Delivery(message=message, route=request.route, subscription=request.subscription, decision=decision)
                    for message, decision in zip(request.messages, decisions, strict=True)
                ]
                return decisions
            finally:
                self._changed.notify_all()


class _Servicer(delivery_grpc.DeliveryServiceServicer):
    def __init__(self, take: Callable[[pb.DeliverMessagesRequest], Sequence[Decision]]) -> None:
        self._take = take

    def DeliverMessages(  # noqa: N802
        self, request: pb.DeliverMessagesRequest, _context: Any
    ) -> pb.DeliverMessagesResponse:
        return pb.DeliverMessagesResponse(results=[decision.result() for decision in self._take(request)])


def _plain(value: PropertyValue) -> PropertyType:
    kind = value.WhichOneof("kind")
    result: PropertyType = getattr(value, kind) if kind else None
    return result
