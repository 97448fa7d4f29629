"""The servicer on the in-memory store: what only concerns the transport; the rest runs over sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf import json_format
from penstock.errors.v1 import error_reason_pb2 as reasons
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1 import message_pb2, subscription_pb2

from services.filtering.servicer import MAX_BATCH, FilteringServicer
from services.filtering.store import MemorySubscriptionStore
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tests.contracts.subscription_store import subscription

CONTEXT: Any = None


class NotReadyStore(MemorySubscriptionStore):
    """A store that does not know its subscriptions yet."""

    @property
    def is_ready(self) -> bool:
        return False


@pytest.fixture
async def servicer() -> FilteringServicer:
    store = MemorySubscriptionStore()
    await store.put(subscription("a", policy='{"k": ["x"]}'), None)
    await store.put(subscription("b", policy='{"k": [{"prefix": "x"}]}'), None)
    await store.put(subscription("c", policy='{"k": ["y"]}'), None)
    return FilteringServicer(store, max_subscriptions_per_topic=10)


def message(**attributes: str) -> message_pb2.FilterableMessage:
    typed = {name: message_pb2.MessageAttribute(value=value) for name, value in attributes.items()}
    return message_pb2.FilterableMessage(attributes=typed)


async def test_match_answers_names_and_targets_in_order(servicer: FilteringServicer) -> None:
    """An attribute without a type is a String."""
    request = pb.MatchMessageRequest(topic="topic", message=message(k="x"))
    response = await servicer.MatchMessage(request, CONTEXT)
    assert [(found.name, found.target.sqs.queue_url) for found in response.subscriptions] == [
        ("a", "url"),
        ("b", "url"),
    ]


async def test_batch_names_each_wanted_subscription_once(servicer: FilteringServicer) -> None:
    """Indexes point into the response's own list, not into the topic."""
    messages = [message(k="y"), message(k="xy"), message(k="z"), message(k="xz")]
    response = await servicer.BatchMatchMessages(
        pb.BatchMatchMessagesRequest(topic="topic", messages=messages), CONTEXT
    )
    assert [found.name for found in response.subscriptions] == ["b", "c"]
    assert [list(result.subscription_indexes) for result in response.results] == [[1], [0], [], [0]]
    assert not any(result.HasField("error") for result in response.results)


async def test_batch_larger_than_one_turn_is_answered_in_order(servicer: FilteringServicer) -> None:
    """Other calls get a turn in between, the order stays."""
    messages = [message(k="y" if number % 3 else "x") for number in range(1000)]
    response = await servicer.BatchMatchMessages(
        pb.BatchMatchMessagesRequest(topic="topic", messages=messages), CONTEXT
    )
    found = [[response.subscriptions[index].name for index in r.subscription_indexes] for r in response.results]
    assert found == [["c"] if number % 3 else ["a", "b"] for number in range(1000)]


async def test_other_calls_get_a_turn_between_large_bodies(servicer: FilteringServicer) -> None:
    """Sixty bodies of 250 KiB take a second or two."""
    document = subscription("body", policy='{"k": ["x"]}').document
    document.dialect = subscription_pb2.FILTER_DIALECT_SNS_BODY
    await servicer.PutSubscription(pb.PutSubscriptionRequest(subscription=document), CONTEXT)
    body = b'{"k": "x", "l": "%s"}' % (b"x" * 250_000)
    batch = pb.BatchMatchMessagesRequest(topic="topic", messages=[message_pb2.FilterableMessage(body=body)] * 10)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count_turns())
    response = await servicer.BatchMatchMessages(batch, CONTEXT)
    counter.cancel()
    assert [found.name for found in response.subscriptions] == ["body"]
    assert turns >= 5


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
async def test_batch_size_out_of_range_is_refused(servicer: FilteringServicer, count: int) -> None:
    """The field is named with the number and the limit."""
    request = pb.BatchMatchMessagesRequest(topic="topic", messages=[message_pb2.FilterableMessage()] * count)
    with pytest.raises(InvalidArgumentError, match=f"messages: has {count} items; 1 to {MAX_BATCH}") as caught:
        await servicer.BatchMatchMessages(request, CONTEXT)
    assert [violation.field for violation in caught.value.violations] == ["messages"]


async def test_attribute_type_of_a_later_version_is_never_matched_on(servicer: FilteringServicer) -> None:
    """Unknown enum values count as Binary."""
    attribute = message_pb2.MessageAttribute(value="x")
    attribute.type = 77  # type: ignore[assignment]
    request = pb.MatchMessageRequest(topic="topic", message=message_pb2.FilterableMessage(attributes={"k": attribute}))
    assert not (await servicer.MatchMessage(request, CONTEXT)).subscriptions


async def test_bad_single_message_is_an_invalid_argument_with_its_reason(servicer: FilteringServicer) -> None:
    """A Number that is none."""
    attribute = message_pb2.MessageAttribute(type=message_pb2.ATTRIBUTE_TYPE_NUMBER, value="many")
    bad = message_pb2.FilterableMessage(attributes={"k": attribute})
    with pytest.raises(InvalidArgumentError, match="'k' is declared a Number") as caught:
        await servicer.MatchMessage(pb.MatchMessageRequest(topic="topic", message=bad), CONTEXT)
    assert caught.value.reason == reasons.ErrorReason.Name(reasons.ERROR_REASON_INVALID_FIELD)


async def test_nothing_is_answered_before_the_subscriptions_are_known() -> None:
    """UNAVAILABLE with the missing dependency, rather than TOPIC_NOT_FOUND."""
    servicer = FilteringServicer(NotReadyStore(), max_subscriptions_per_topic=10)
    calls = [
        servicer.MatchMessage(pb.MatchMessageRequest(topic="t"), CONTEXT),
        servicer.BatchMatchMessages(pb.BatchMatchMessagesRequest(topic="t", messages=[message()]), CONTEXT),
        servicer.ListSubscriptions(pb.ListSubscriptionsRequest(), CONTEXT),
        servicer.GetSubscription(pb.GetSubscriptionRequest(topic="t", name="s"), CONTEXT),
        servicer.DeleteSubscription(pb.DeleteSubscriptionRequest(topic="t", name="s"), CONTEXT),
        servicer.PutSubscription(pb.PutSubscriptionRequest(), CONTEXT),
    ]
    for call in calls:
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.reason == "ERROR_REASON_DEPENDENCY_UNAVAILABLE"


async def test_explain_takes_an_inline_policy_of_any_dialect(servicer: FilteringServicer) -> None:
    """Without storing anything."""
    inline = {"filter_policy": '{"a": {"b": [1]}}', "dialect": "FILTER_DIALECT_EVENTBRIDGE"}
    request = json_format.ParseDict({"inline": inline}, pb.ExplainMatchRequest())
    request.message.body = b'{"a": {"b": 1.0}}'
    response = await servicer.ExplainMatch(request, CONTEXT)
    assert response.matches
    assert [(key.path, key.condition, key.actual) for key in response.keys] == [("$.a.b", "1", "1.0")]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "ERROR_REASON_INVALID_FIELD"),
        ({"inline": {"filter_policy": '{"a": 1}'}}, "ERROR_REASON_INVALID_FILTER_POLICY"),
        ({"inline": {"filter_policy": "{}", "dialect": 3}}, "ERROR_REASON_INVALID_BODY"),
        ({"inline": {"filter_policy": "{}", "dialect": 9}}, "ERROR_REASON_INVALID_FIELD"),
    ],
)
async def test_explain_refuses_what_it_cannot_read(
    servicer: FilteringServicer, document: dict[str, Any], reason: str
) -> None:
    """No policy, a faulty one, no body, an unknown dialect."""
    request = json_format.ParseDict(document, pb.ExplainMatchRequest())
    with pytest.raises(InvalidArgumentError) as caught:
        await servicer.ExplainMatch(request, CONTEXT)
    assert caught.value.reason == reason


async def test_explain_of_an_unknown_subscription_is_not_found(servicer: FilteringServicer) -> None:
    """The error names it."""
    request = pb.ExplainMatchRequest(subscription=pb.GetSubscriptionRequest(topic="topic", name="none"))
    with pytest.raises(NotFoundError, match="has no subscription 'none'"):
        await servicer.ExplainMatch(request, CONTEXT)


async def test_stream_takes_a_batch_when_the_answer_before_was_taken(servicer: FilteringServicer) -> None:
    """Nothing is read ahead: what a slow reader leaves is never more than one batch."""
    taken = 0

    async def requests() -> AsyncIterator[pb.StreamMatchMessagesRequest]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield pb.StreamMatchMessagesRequest(
                batch=pb.BatchMatchMessagesRequest(topic="topic", messages=[message(k="y")])
            )

    answers = servicer.StreamMatchMessages(requests(), CONTEXT)
    for number in range(1, 4):
        assert [found.name for found in (await anext(answers)).batch.subscriptions] == ["c"]
        for _ in range(10):
            await asyncio.sleep(0)
        assert taken == number


async def test_an_endless_topic_does_not_make_an_endless_answer(servicer: FilteringServicer) -> None:
    """Its error stands in the result of every message."""
    request = pb.BatchMatchMessagesRequest(topic="x" * 20_000, messages=[message()] * MAX_BATCH)
    response = await servicer.BatchMatchMessages(request, CONTEXT)
    assert {result.error.reason for result in response.results} == {reasons.ERROR_REASON_TOPIC_NOT_FOUND}
    assert response.ByteSize() < 4 * 1024 * 1024
