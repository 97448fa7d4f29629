"""Routes: valid ones, and every fault of the others."""

import json

import pytest
from penstock.bridge.v1 import route_pb2
from penstock.tracking.v1 import tracking_event_pb2

from broker_bridge.circuit import CircuitSettings
from broker_bridge.parcel import AttributeKind
from broker_bridge.routes import InvalidRouteError, Route, parse_route, route_document
from broker_bridge.source import dead_letter_queue
from broker_bridge.target_specs import GrpcTarget, LambdaTarget, SqsTarget

TO_TOPIC = {"source": "queue://orders", "filter_topic": "Orders"}
GRPC = {"grpc": {"address": "127.0.0.1:50053"}}
UNHEARD = {
    "lambda_function": {
        "function_name": "f",
        "invocation_type": "LAMBDA_INVOCATION_TYPE_EVENT",
        "replies": "LAMBDA_REPLIES_ANSWER",
    }
}


def parsed(document: object, name: str = "orders") -> Route:
    return parse_route(name, json.dumps(document), version=3)


def faults(value: str, name: str = "orders") -> dict[str, str]:
    """The faults of a route by field."""
    with pytest.raises(InvalidRouteError) as caught:
        parse_route(name, value)
    assert caught.value.metadata["route"] == name
    return {violation.field: violation.description for violation in caught.value.violations}


def test_the_shortest_route_has_the_documented_defaults() -> None:
    """As the comments of route.proto say."""
    route = parsed(TO_TOPIC)
    assert route.filter_topic == "Orders"
    assert route.version == 3
    assert (route.batch.max_messages, route.batch.max_bytes, route.batch.window) == (100, 4 * 1024 * 1024, 0.0)
    retry = route.retry
    assert (retry.max_attempts, retry.backoff.initial, retry.backoff.maximum, retry.backoff.multiplier) == (
        5,
        0.5,
        30,
        2,
    )
    assert (route.concurrency, route.prefetch, route.paused, route.accept_empty) == (4, 1000, False, False)
    assert route.body_format == route_pb2.BODY_FORMAT_AUTO


def test_a_route_with_every_field_is_understood() -> None:
    """In the names of the proto, as they are written."""
    route = parsed(
        {
            "name": "orders",
            "source": "queue://Consumer.penstock.VirtualTopic.orders",
            "selector": "colour = 'blue'",
            "targets": [
                GRPC,
                {
                    "lambda_function": {
                        "function_name": "f",
                        "invocation_type": "LAMBDA_INVOCATION_TYPE_EVENT",
                        "event_format": "LAMBDA_EVENT_FORMAT_SIMPLE",
                    }
                },
                {"sqs": {"queue_url": "https://sqs/1/q.fifo", "group_property": "customer"}},
            ],
            "attributes": {"price": "ATTRIBUTE_TYPE_NUMBER", "tags": "ATTRIBUTE_TYPE_STRING_ARRAY"},
            "body_format": "BODY_FORMAT_PROTOBUF",
            "protobuf_type": tracking_event_pb2.TrackingEvent.DESCRIPTOR.full_name,
            "batch": {"max_messages": 10, "window": "0.5s", "max_bytes": 2048},
            "retry": {"max_attempts": 9, "initial_backoff": "1s", "max_backoff": "8s", "multiplier": 3},
            "concurrency": 2,
            "prefetch": 50,
            "paused": True,
            "group_property": "customer",
            "accept_empty": True,
        }
    )
    assert route.targets == (
        GrpcTarget(address="127.0.0.1:50053"),
        LambdaTarget(function_name="f", asynchronous=True, simple=True),
        SqsTarget(queue_url="https://sqs/1/q.fifo", group_property="customer"),
    )
    assert route.attributes == {"price": AttributeKind.NUMBER, "tags": AttributeKind.STRING_ARRAY}
    assert (route.batch.max_messages, route.batch.window, route.batch.max_bytes) == (10, 0.5, 2048)
    retry = route.retry
    assert (retry.max_attempts, retry.backoff.initial, retry.backoff.maximum, retry.backoff.multiplier) == (9, 1, 8, 3)
    assert (route.concurrency, route.prefetch, route.paused, route.accept_empty) == (2, 50, True, True)


def test_lower_camel_case_names_are_accepted_too() -> None:
    """As proto3 JSON has it."""
    assert parsed({"source": "queue://orders", "filterTopic": "Orders"}) == parsed(TO_TOPIC)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object, but list"),
        ('"text"', "not a JSON object, but str"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["cut", "list", "text", "deep"],
)
def test_a_value_that_is_no_object_is_refused(value: str, complaint: str) -> None:
    """With what it is instead."""
    assert complaint in faults(value)[""]


@pytest.mark.parametrize(
    ("change", "field", "complaint"),
    [
        ({"source": ""}, "source", "is not a queue"),
        ({"source": "temp-queue://a"}, "source", "is not a queue"),
        ({"source": "queue://a\u0000b"}, "source", "is not a queue"),
        ({"source": "queue://orders*"}, "source", "a whole level"),
        ({"source": "queue://orders.>.eu"}, "source", "the last level"),
        ({"source": "queue://>"}, "source", "dead letters too"),
        ({"source": "queue://*.orders"}, "source", "dead letters too"),
        ({"source": "topic://ActiveMQ.Advisory.>"}, "source", "the broker's own"),
        ({"source": "topic://prices", "lanes": 2}, "lanes", "every message"),
        (
            {"source": "topic://prices", "retry": {"strategy": "RETRY_STRATEGY_SCHEDULED"}},
            "retry.strategy",
            "every subscr",
        ),
        ({"source": "queue://a,queue://b"}, "source", "is not a queue"),
        ({"source": "queue://a?consumer.prefetchSize=0"}, "source", "is not a queue"),
        ({"source": "queue://DLQ.orders"}, "source", "replayed, not routed"),
        ({"name": "other"}, "name", "last level"),
        ({"targets": [GRPC]}, "targets", "not both"),
        ({"filter_topic": ""}, "filter_topic", "at least one of targets"),
        ({"filter_topic": "a b"}, "filter_topic", "'a b'"),
        ({"filter_topic": "", "targets": [UNHEARD]}, "targets[0].lambda_function.replies", "nobody sees the answer"),
        ({"concurrency": 257}, "concurrency", "between 1 and 256"),
        ({"concurrency": -1}, "concurrency", "between 1 and 256"),
        ({"prefetch": 10_001}, "prefetch", "between 1 and 10000"),
        ({"batch": {"max_messages": 1001}}, "batch.max_messages", "between 1 and 1000"),
        ({"batch": {"max_bytes": 1}}, "batch.max_bytes", "between 1024 and 6000000"),
        ({"batch": {"window": "301s"}}, "batch.window", "between 0 and 300 s"),
        ({"batch": {"window": "-1s"}}, "batch.window", "between 0 and 300 s"),
        ({"retry": {"max_attempts": 1001}}, "retry.max_attempts", "between 1 and 1000"),
        ({"retry": {"initial_backoff": "-1s"}}, "retry.initial_backoff", "negative"),
        ({"retry": {"initial_backoff": "9s", "max_backoff": "8s"}}, "retry.max_backoff", "shorter"),
        ({"retry": {"max_backoff": "3601s"}}, "retry.max_backoff", "longer than 3600 s"),
        ({"retry": {"unavailable": {"max_attempts": -1}}}, "retry.unavailable.max_attempts", "between 1 and 100000"),
        ({"retry": {"throttled": {"initial_backoff": "60s"}}}, "retry.throttled.max_backoff", "shorter"),
        ({"retry": {"throttled": {"multiplier": 0.5}}}, "retry.throttled.multiplier", "at least 1"),
        ({"max_in_flight_bytes": 1024}, "max_in_flight_bytes", "not between 1048576 and"),
        ({"property_types": {"a": 99}}, "property_types.a", "not a PropertyType"),
        ({"lanes": 65}, "lanes", "between 1 and 64"),
        ({"lanes": 2, "concurrency": 2}, "concurrency", "side by side"),
        ({"lanes": 2, "batch": {"max_messages": 2}}, "batch.max_messages", "side by side"),
        ({"retry": {"strategy": 9}}, "retry.strategy", "not a RetryStrategy"),
        ({"retry": {"strategy": "RETRY_STRATEGY_BROKER"}, "lanes": 2}, "retry.strategy", "keep their order"),
        ({"retry": {"multiplier": 0.5}}, "retry.multiplier", "at least 1"),
        ({"retry": {"multiplier": "NaN"}}, "retry.multiplier", "at least 1"),
        ({"protobuf_type": "x.Y"}, "protobuf_type", "needs body_format"),
        ({"body_format": "BODY_FORMAT_PROTOBUF", "protobuf_type": "x.Y"}, "protobuf_type", "'x.Y'"),
        ({"body_format": 99}, "body_format", "99"),
        ({"attributes": {"a": 99}}, "attributes.a", "99"),
        ({"selector": "a\u0000"}, "selector", "U+0000"),
        ({"rate_limit": -1}, "rate_limit", "not between 0.001 and 1000000"),
        ({"rate_limit": "NaN"}, "rate_limit", "not between"),
        ({"circuit_breaker": {"failures": 1001}}, "circuit_breaker.failures", "1001"),
        ({"circuit_breaker": {"open": "0s"}}, "circuit_breaker.open", "not between 0.1 and 3600"),
        ({"unknown": 1}, "unknown", "no field named"),
        ({"batch": {"window": "soon"}}, "batch", "soon"),
        ({"concurrency": "many"}, "concurrency", "many"),
    ],
)
def test_a_fault_names_its_field(change: dict[str, object], field: str, complaint: str) -> None:
    """With the value and what would be right."""
    found = faults(json.dumps(TO_TOPIC | change))
    assert list(found) == [field]
    assert complaint in found[field]


@pytest.mark.parametrize(
    ("target", "field", "complaint"),
    [
        ({}, "targets[0]", "names no target"),
        ({"grpc": {}}, "targets[0].grpc.address", "is required"),
        ({"lambda_function": {"function_name": " "}}, "targets[0].lambda_function.function_name", "is required"),
        ({"sqs": {"queue_url": "orders"}}, "targets[0].sqs.queue_url", "not the URL"),
        ({"sns": {"topic_arn": "arn:x"}}, "targets[0].sns.topic_arn", "not the ARN of a topic"),
        ({"kinesis": {}}, "targets[0].kinesis.stream", "is required"),
        ({"queue": {"destination": "a"}}, "targets[0].queue.destination", "not one queue or topic"),
        ({"queue": {"destination": "queue://a,b"}}, "targets[0].queue.destination", "not one queue or topic"),
        ({"queue": {"destination": "queue://orders"}}, "targets[0].queue.destination", "is the source"),
        ({"http": {"url": "ftp://a"}}, "targets[0].http.url", "not http://host/path"),
        ({"http": {"url": "http://u:p@a"}}, "targets[0].http.url", "no login"),
        ({"http": {"url": "http://[a"}}, "targets[0].http.url", "malformed"),
        ({"http": {"url": "http://a", "content_type": "a\nb"}}, "targets[0].http.content_type", "printable"),
        ({"smtp": {}}, "targets[0]", "no field named"),
    ],
)
def test_a_target_that_cannot_be_used_is_named(target: dict[str, object], field: str, complaint: str) -> None:
    """Before a message is taken."""
    found = faults(json.dumps({"source": "queue://orders", "targets": [target]}))
    assert list(found) == [field]
    assert complaint in found[field]


def test_all_faults_are_told_at_once() -> None:
    """Those of the JSON form and those of its content."""
    found = faults(
        json.dumps(
            {
                "source": "orders",
                "targets": [GRPC, {"smtp": {}}, {"sns": {"topic_arn": "a"}}],
                "colour": "blue",
                "prefetch": -1,
                "attributes": {"a": "ATTRIBUTE_TYPE_NUMBER", "b": "NUMBER"},
            }
        )
    )
    assert set(found) == {"source", "targets[1]", "targets[2].sns.topic_arn", "colour", "prefetch", "attributes.b"}


def test_attributes_are_all_kept() -> None:
    """Each is parsed for itself and none replaces another."""
    route = parsed(TO_TOPIC | {"attributes": dict.fromkeys("abc", "ATTRIBUTE_TYPE_NUMBER")})
    assert set(route.attributes) == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["a b", "a/b", "", "x" * 129])
def test_a_name_that_is_no_route_name_is_refused(name: str) -> None:
    """The last level of the parameter."""
    assert "letters, digits" in faults(json.dumps(TO_TOPIC), name=name)["name"]


def test_the_document_of_a_route_carries_its_name() -> None:
    """Also when the stored value leaves it out."""
    value = json.dumps(TO_TOPIC)
    document = route_document(parse_route("orders", value), value)
    assert (document.name, document.filter_topic) == ("orders", "Orders")


def test_dead_letters_lie_where_the_broker_would_put_them() -> None:
    """The individual dead letter strategy with the prefix DLQ."""
    assert dead_letter_queue("queue://orders") == "queue://DLQ.orders"


def test_rate_limit_and_circuit_breaker_are_off_unless_the_route_has_them() -> None:
    """An empty circuit breaker has the defaults."""
    plain = parsed(TO_TOPIC)
    assert (plain.rate_limit, plain.circuit_breaker) == (0.0, None)
    assert parsed(TO_TOPIC | {"circuit_breaker": {}}).circuit_breaker == CircuitSettings(failures=5, open_seconds=10.0)
    given = parsed(TO_TOPIC | {"rate_limit": 2.5, "circuit_breaker": {"failures": 2, "open": "30s"}})
    assert given.rate_limit == 2.5
    assert given.circuit_breaker == CircuitSettings(failures=2, open_seconds=30.0)
