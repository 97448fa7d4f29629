"""gRPC <-> domain: penstock.filtering.v1.FilteringService."""

# ruff: noqa: N802 - the RPCs have their names from the .proto file

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from penstock.errors.v1 import error_reason_pb2
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1 import filtering_service_pb2_grpc, message_pb2

from services.filtering.codec import (
    Found,
    batch_response,
    explanation_response,
    match_error,
    matched_subscription,
    policy_fault,
    read_message,
    reason_of,
)
from services.filtering.explain import explain
from services.filtering.faults import PolicyError
from services.filtering.languages import AWS, Languages
from services.filtering.lint import warnings
from services.filtering.message import MessageError
from services.filtering.pages import read_page
from services.filtering.policy import parse_policy
from services.filtering.store import SubscriptionStore, not_found
from services.filtering.subscription import Subscription, policy_violations, read_subscription, refusal
from services.filtering.topics import Topic
from services.runtime.errors import (
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    invalid_field,
)
from services.runtime.telemetry import counter

SERVICE = pb.DESCRIPTOR.services_by_name["FilteringService"].full_name
MAX_BATCH = 10_000
_SHOWN = 80  # characters of a topic that an error repeats
_BREATH = 256  # messages, or KiB of their bodies, matched before other calls get a turn

Context = grpc.aio.ServicerContext[Any, Any]


class FilteringServicer(filtering_service_pb2_grpc.FilteringServiceServicer):
    """Decodes, asks the store's topics, encodes."""

    def __init__(
        self, store: SubscriptionStore, *, max_subscriptions_per_topic: int, languages: Languages = AWS
    ) -> None:
        self._store = store
        self._languages = languages
        self._limit = max_subscriptions_per_topic
        self._matched = counter(
            "penstock_filtering_messages", "Messages looked at: matched, unmatched or failed.", ("topic", "outcome")
        )

    def register(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the service to a server."""
        filtering_service_pb2_grpc.add_FilteringServiceServicer_to_server(self, server)
        return [SERVICE]

    async def PutSubscription(
        self, request: pb.PutSubscriptionRequest, _context: Context
    ) -> pb.PutSubscriptionResponse:
        self._check_ready()
        subscription = read_subscription(request.subscription, self._languages)
        self._check_room(subscription)
        expected = request.expected_version if request.HasField("expected_version") else None
        stored = await self._store.put(subscription, expected)
        return pb.PutSubscriptionResponse(subscription=stored.document)

    async def GetSubscription(
        self, request: pb.GetSubscriptionRequest, _context: Context
    ) -> pb.GetSubscriptionResponse:
        return pb.GetSubscriptionResponse(subscription=self._subscription(request).document)

    async def ListSubscriptions(
        self, request: pb.ListSubscriptionsRequest, _context: Context
    ) -> pb.ListSubscriptionsResponse:
        self._check_ready()
        page, next_token = read_page(
            self._store.topics.all(request.topic or None),
            topic=request.topic,
            page_size=request.page_size,
            token=request.page_token,
        )
        return pb.ListSubscriptionsResponse(
            subscriptions=[subscription.document for subscription in page], next_page_token=next_token
        )

    async def DeleteSubscription(
        self, request: pb.DeleteSubscriptionRequest, _context: Context
    ) -> pb.DeleteSubscriptionResponse:
        self._check_ready()
        await self._store.delete(request.topic, request.name)
        return pb.DeleteSubscriptionResponse()

    async def MatchMessage(self, request: pb.MatchMessageRequest, _context: Context) -> pb.MatchMessageResponse:
        self._check_ready()
        topic = self._store.topics.topic(request.topic)
        if topic is None:
            raise _no_topic(request.topic)
        try:
            found = topic.match(read_message(request.message))
        except MessageError as error:
            self._matched.labels(request.topic, "failed").inc()
            raise InvalidArgumentError(str(error), reason=reason_of(error)) from error
        self._matched.labels(request.topic, "matched" if found else "unmatched").inc()
        return pb.MatchMessageResponse(subscriptions=[matched_subscription(topic, name) for name in sorted(found)])

    async def BatchMatchMessages(
        self, request: pb.BatchMatchMessagesRequest, _context: Context
    ) -> pb.BatchMatchMessagesResponse:
        self._check_ready()
        return await self._match_batch(request)

    async def StreamMatchMessages(
        self, request_iterator: AsyncIterator[pb.StreamMatchMessagesRequest], _context: Context
    ) -> AsyncIterator[pb.StreamMatchMessagesResponse]:
        async for request in request_iterator:
            self._check_ready()
            yield pb.StreamMatchMessagesResponse(batch=await self._match_batch(request.batch))

    async def ValidateFilterPolicy(
        self, request: pb.ValidateFilterPolicyRequest, _context: Context
    ) -> pb.ValidateFilterPolicyResponse:
        dialect = self._languages.read(request.dialect, request.anything_but_arrays)
        try:
            policy = parse_policy(request.filter_policy, dialect)
        except PolicyError as error:
            return pb.ValidateFilterPolicyResponse(faults=map(policy_fault, error.faults), complexity=error.complexity)
        doubts = warnings(request.filter_policy, policy, dialect)
        return pb.ValidateFilterPolicyResponse(complexity=policy.complexity, warnings=map(policy_fault, doubts))

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, _context: Context) -> pb.ExplainMatchResponse:
        match request.WhichOneof("policy"):
            case "subscription":
                subscription = self._subscription(request.subscription)
                policy, dialect = subscription.policy, subscription.dialect
            case "inline":
                dialect = self._languages.read(request.inline.dialect, request.inline.anything_but_arrays)
                try:
                    policy = parse_policy(request.inline.filter_policy, dialect)
                except PolicyError as error:
                    text, reason = refusal(str(error.faults[0])), "ERROR_REASON_INVALID_FILTER_POLICY"
                    raise InvalidArgumentError(text, violations=policy_violations(error), reason=reason) from error
            case _:
                raise invalid_field("policy", "must be set: a stored subscription or an inline policy")
        try:
            explanation = explain(policy, dialect, read_message(request.message))
        except MessageError as error:
            raise InvalidArgumentError(str(error), reason=reason_of(error)) from error
        return explanation_response(explanation)

    async def _match_batch(self, request: pb.BatchMatchMessagesRequest) -> pb.BatchMatchMessagesResponse:
        if not 1 <= len(request.messages) <= MAX_BATCH:
            raise invalid_field("messages", f"has {len(request.messages)} items; 1 to {MAX_BATCH} are allowed")
        topic = self._store.topics.topic(request.topic)
        if topic is None:
            missing = match_error(error_reason_pb2.ERROR_REASON_TOPIC_NOT_FOUND, _no_topic(request.topic).message)
            return pb.BatchMatchMessagesResponse(results=[missing] * len(request.messages))
        found: list[Found] = []
        spent = 0
        for message in request.messages:
            found.append(_match_one(topic, message))
            spent += 1 + len(message.body) // 1024
            if spent >= _BREATH:
                spent = 0
                await asyncio.sleep(0)
        self._count(request.topic, found)
        return batch_response(topic, found)

    def _count(self, topic: str, found: Sequence[Found]) -> None:
        failed = sum(isinstance(result, MessageError) for result in found)
        matched = sum(bool(result) for result in found if isinstance(result, list))
        for outcome, count in (
            ("matched", matched),
            ("unmatched", len(found) - matched - failed),
            ("failed", failed),
        ):
            self._matched.labels(topic, outcome).inc(count)

    def _subscription(self, request: pb.GetSubscriptionRequest) -> Subscription:
        self._check_ready()
        found = self._store.topics.get(request.topic, request.name)
        if found is None:
            raise not_found(request.topic, request.name)
        return found

    def _check_ready(self) -> None:
        if not self._store.is_ready:
            raise UnavailableError(
                "the subscriptions are not known yet: the config service was not reached and there is no snapshot",
                reason="ERROR_REASON_DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "config"},
                retry_after=1.0,
            )

    def _check_room(self, subscription: Subscription) -> None:
        topics = self._store.topics
        is_new = topics.get(subscription.topic, subscription.name) is None
        if is_new and topics.count(subscription.topic) >= self._limit:
            raise ResourceExhaustedError(
                f"topic {subscription.topic!r} has {self._limit} subscriptions, which is the limit: delete one, or "
                "raise PENSTOCK_FILTERING_MAX_SUBSCRIPTIONS_PER_TOPIC",
                reason="ERROR_REASON_TOO_MANY_SUBSCRIPTIONS",
                metadata={"topic": subscription.topic, "limit": str(self._limit)},
            )


def _match_one(topic: Topic, message: message_pb2.FilterableMessage) -> Found:
    try:
        return topic.match(read_message(message))
    except MessageError as error:
        return error


def _no_topic(topic: str) -> NotFoundError:
    return NotFoundError(
        # Once per message of a batch: cut, or a long name would make an answer that is too large to be sent.
        f"topic {topic[:_SHOWN]!r} has no subscriptions: put one, or correct the name",
        reason="ERROR_REASON_TOPIC_NOT_FOUND",
        metadata={"topic": topic},
    )
