"""Limits of policies: on by default as AWS has them, tested at their edges, adjustable; bombs are refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from penstock.filtering.v1 import filtering_service_pb2 as pb
from penstock.filtering.v1 import subscription_pb2

from services.filtering.dialect import (
    EVENTBRIDGE,
    MAX_BRANCHES,
    MAX_FILED_CONDITIONS,
    MAX_POLICY_BYTES,
    SNS_ATTRIBUTES,
    SNS_BODY,
    Dialect,
)
from services.filtering.faults import PolicyError
from services.filtering.languages import Languages
from services.filtering.policy import MAX_ALTERNATIVES, MAX_COMPLEXITY, parse_policy
from services.filtering.servicer import FilteringServicer
from services.filtering.settings import FilteringSettings
from services.filtering.store import MemorySubscriptionStore
from services.runtime.errors import InvalidArgumentError, ResourceExhaustedError

CONTEXT: Any = None
TOO_COMPLEX = "Filter policy is too complex"


def keys(count: int) -> str:
    """A policy of so many keys, one value each."""
    return json.dumps({f"k{number}": ["x"] for number in range(count)})


def values(*counts: int) -> str:
    """A policy of arrays of so many values."""
    return json.dumps({f"k{place}": [str(n) for n in range(count)] for place, count in enumerate(counts)})


def faults_of(text: str, dialect: Dialect) -> list[str]:
    try:
        parse_policy(text, dialect)
    except PolicyError as error:
        return [fault.message for fault in error.faults]
    return []


@pytest.mark.parametrize("dialect", [SNS_ATTRIBUTES, SNS_BODY], ids=lambda dialect: dialect.name)
def test_limits_of_amazon_sns_hold_at_their_edges(dialect: Dialect) -> None:
    """5 keys, 150 combinations, 256 KiB; one more is refused in the words of AWS."""
    assert faults_of(keys(5), dialect) == []
    assert faults_of(keys(6), dialect) == ["Filter policy can not have more than 5 keys"]
    assert faults_of(values(15, 10), dialect) == []
    assert faults_of(values(151), dialect) == [TOO_COMPLEX]
    longest = keys(5)[:-1] + " " * (MAX_POLICY_BYTES - len(keys(5))) + "}"
    assert faults_of(longest, dialect) == []
    assert faults_of(longest + " ", dialect) == [f"Filter policy can not be larger than {MAX_POLICY_BYTES} bytes"]


def test_nested_arrays_count_times_their_depth() -> None:
    """25 values at depth 2 and 3 at depth 1 are 150 combinations; one value more is 156."""
    assert faults_of(json.dumps({"a": {"b": list(range(25))}, "c": [1, 2, 3]}), SNS_BODY) == []
    assert faults_of(json.dumps({"a": {"b": list(range(26))}, "c": [1, 2, 3]}), SNS_BODY) == [TOO_COMPLEX]


def test_eventbridge_limits_the_length_alone() -> None:
    """And its `$or`s, see below."""
    assert faults_of(keys(100), EVENTBRIDGE) == []
    assert faults_of(values(100, 100, 100), EVENTBRIDGE) == []


@pytest.mark.parametrize(
    ("setting", "dialect", "inside", "beyond"),
    [
        ("sns_attributes_max_keys", SNS_ATTRIBUTES, keys(7), keys(8)),
        ("sns_body_max_keys", SNS_BODY, keys(7), keys(8)),
        ("eventbridge_max_keys", EVENTBRIDGE, keys(7), keys(8)),
        ("sns_attributes_max_combinations", SNS_ATTRIBUTES, values(7), values(8)),
        ("sns_body_max_combinations", SNS_BODY, values(7), values(8)),
        ("eventbridge_max_combinations", EVENTBRIDGE, values(7), values(8)),
        ("max_policy_bytes", SNS_BODY, "{}     ", "{}      "),
    ],
)
def test_every_limit_is_a_setting(setting: str, dialect: Dialect, inside: str, beyond: str) -> None:
    """Set to 7, seven are taken and eight are not; no other dialect is touched."""
    dialects = FilteringSettings.model_validate({setting: 7}).dialects()
    assert faults_of(inside, dialects[dialect.name]) == []
    assert len(faults_of(beyond, dialects[dialect.name])) == 1
    if setting != "max_policy_bytes":
        assert [name for name, changed in dialects.items() if changed != FilteringSettings().dialects()[name]] == [
            dialect.name
        ]


def test_settings_begin_with_the_limits_of_aws_and_zero_lifts_them() -> None:
    """The dialects as they are defined; without limits 18 keys of a thousand combinations each are a policy."""
    assert FilteringSettings().dialects() == {each.name: each for each in (SNS_ATTRIBUTES, SNS_BODY, EVENTBRIDGE)}
    lifted = FilteringSettings(sns_attributes_max_keys=0, sns_attributes_max_combinations=0).dialects()
    assert faults_of(values(*[1000] * 18), lifted["sns-attributes"]) == []


async def test_servicer_keeps_to_the_limits_it_is_given() -> None:
    """In putting, validating and explaining."""
    languages = Languages({each.name: replace(each, max_keys=1) for each in (SNS_ATTRIBUTES, SNS_BODY, EVENTBRIDGE)})
    servicer = FilteringServicer(MemorySubscriptionStore(), max_subscriptions_per_topic=200, languages=languages)
    document = {"topic": "t", "name": "s", "filter_policy": keys(2), "target": {"sqs": {"queue_url": "url"}}}
    subscription = json_format.ParseDict(document, subscription_pb2.Subscription())
    with pytest.raises(InvalidArgumentError, match="can not have more than 1 keys"):
        await servicer.PutSubscription(pb.PutSubscriptionRequest(subscription=subscription), CONTEXT)
    validation = pb.ValidateFilterPolicyRequest(filter_policy=keys(2))
    answer = await servicer.ValidateFilterPolicy(validation, CONTEXT)
    assert [fault.message for fault in answer.faults] == ["Filter policy can not have more than 1 keys"]
    with pytest.raises(InvalidArgumentError, match="can not have more than 1 keys"):
        await servicer.ExplainMatch(pb.ExplainMatchRequest(inline=validation), CONTEXT)


async def test_the_200th_policy_of_a_topic_is_taken_and_the_201st_is_not() -> None:
    """The limit of Amazon SNS; other topics have room, and a policy can still be replaced."""
    limit = FilteringSettings().max_subscriptions_per_topic
    servicer = FilteringServicer(MemorySubscriptionStore(), max_subscriptions_per_topic=limit)

    async def put(topic: str, name: str) -> None:
        document = {"topic": topic, "name": name, "target": {"sqs": {"queue_url": "url"}}}
        subscription = json_format.ParseDict(document, subscription_pb2.Subscription())
        await servicer.PutSubscription(pb.PutSubscriptionRequest(subscription=subscription), CONTEXT)

    for number in range(200):
        await put("full", f"s{number}")
    with pytest.raises(ResourceExhaustedError, match="'full' has 200 subscriptions"):
        await put("full", "one-more")
    await put("full", "s7")
    await put("other", "one-more")


def alternatives(count: int) -> str:
    """A `$or` of so many objects with one key and one value each."""
    return f'"$or": {json.dumps([{"a": [number]} for number in range(count)], separators=(",", ":"))}'


def test_a_thousand_ways_through_a_policy_are_taken_and_one_more_is_not() -> None:
    """Each way has its place in the index."""
    assert faults_of(f"{{{alternatives(MAX_BRANCHES)}}}", EVENTBRIDGE) == []
    assert faults_of(f"{{{alternatives(MAX_BRANCHES + 1)}}}", EVENTBRIDGE) == [TOO_COMPLEX]


def test_alternatives_beside_many_conditions_are_bounded_by_both() -> None:
    """512 ways of 18,000 keys each would be nine million conditions in the index."""
    many = ",".join(f'"k{number}":[1]' for number in range(MAX_FILED_CONDITIONS // 512 + 1))
    choices = ",".join(f'"c{number}": {{"$or": [{{"a": [1]}}, {{"b": [1]}}]}}' for number in range(9))
    assert faults_of(f"{{{choices}}}", EVENTBRIDGE) == []
    assert faults_of(f"{{{choices},{many}}}", EVENTBRIDGE) == [TOO_COMPLEX]
    one_way = json.dumps({"k": [str(number) for number in range(20_000)]})
    assert faults_of(one_way, EVENTBRIDGE) == []


def test_conditions_of_all_ways_are_counted_without_going_them() -> None:
    """The count is that of the branches written out."""
    nested = '{"c": [1, 2], "$or": [{"d": [1]}, {"e": [1, 2, 3]}]}'
    text = f'{{"a": [1, 2], "$or": [{{"b": [1]}}, {nested}], "f": {{"$or": [{{"g": [1]}}, {{"h": [1]}}]}}}}'
    policy = parse_policy(text, EVENTBRIDGE)
    written_out = [sum(len(rule.conditions) for rule in branch) for branch in policy.branches()]
    assert (policy.branch_count, policy.filed_conditions) == (len(written_out), sum(written_out))


def test_no_more_alternatives_are_read_than_could_be_taken() -> None:
    """Every one of them is compared with the keys beside it: 9,000 times 9,000 would take long."""
    many = ",".join(f'"k{number}":[1]' for number in range(9_000))
    text = f"{{{many},{alternatives(9_000)}}}"
    assert len(text) < MAX_POLICY_BYTES
    assert faults_of(text, EVENTBRIDGE) == [TOO_COMPLEX]
    assert MAX_ALTERNATIVES < 9_000


async def test_a_complexity_beyond_every_number_is_told_as_the_largest() -> None:
    """Ten thousand keys of two values each: a count of three thousand digits."""
    text = values(*[2] * 10_000)
    assert parse_policy(text, EVENTBRIDGE).complexity == MAX_COMPLEXITY
    servicer = FilteringServicer(MemorySubscriptionStore(), max_subscriptions_per_topic=1)
    request = pb.ValidateFilterPolicyRequest(filter_policy=text, dialect=subscription_pb2.FILTER_DIALECT_EVENTBRIDGE)
    answer = await servicer.ValidateFilterPolicy(request, CONTEXT)
    assert (answer.complexity, len(answer.faults)) == (MAX_COMPLEXITY, 0)


@pytest.mark.parametrize(
    ("text", "complexity"),
    [(values(151), 151), ('{"a": ["x", {"prefix": 1}], "b": ["x", "y"]}', 4), ("{", 0), ("[]", 0)],
)
def test_complexity_is_told_of_a_faulty_policy_too(text: str, complexity: int) -> None:
    """Who is told that a policy is too complex wants to know by how much."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, SNS_ATTRIBUTES)
    assert caught.value.complexity == complexity
