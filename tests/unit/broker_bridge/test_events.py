"""What functions and queues of AWS receive."""

import base64
import json
from dataclasses import replace

import pytest
from aws_lambda_powertools.utilities.data_classes.active_mq_event import ActiveMQEvent
from hypothesis import given
from hypothesis import strategies as st

from broker_bridge.amazon_mq_event import amazon_mq_event, simple_event, to_json
from broker_bridge.message_attributes import body_text, fifo_ids, message_attributes
from broker_bridge.parcel import Attribute, AttributeKind, Parcel
from tests.unit.broker_bridge.builders import message, number, parcel, string

ARN = "arn:aws:mq:us-east-1:123456789012:broker:test:b-1"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
PROPERTIES = st.dictionaries(TEXTS, TEXTS, max_size=12)


def event_message(item: Parcel) -> dict[str, object]:
    event = json.loads(to_json(amazon_mq_event([item], event_source_arn=ARN)))
    assert (event["eventSource"], event["eventSourceArn"]) == ("aws:mq", ARN)
    (found,) = event["messages"]
    return dict(found)


@given(TEXTS, PROPERTIES)
def test_every_event_is_json_and_gives_body_and_properties_back(text: str, properties: dict[str, str]) -> None:
    """Whatever characters they hold."""
    item = replace(parcel(1, text=text), message=message(1, body=text.encode(), properties=properties))
    found = event_message(item)
    assert base64.b64decode(str(found["data"])).decode() == text
    assert found["properties"] == properties


def test_the_event_has_every_key_of_the_known_shapes() -> None:
    """Documentation, captured events and Powertools differ: all are served."""
    found = event_message(parcel(1))
    assert set(found) == {
        "messageID",
        "messageType",
        "deliveryMode",
        "persistent",
        "replyTo",
        "type",
        "expiration",
        "priority",
        "correlationId",
        "correlationID",
        "redelivered",
        "destination",
        "data",
        "timestamp",
        "brokerInTime",
        "brokerOutTime",
        "connectionId",
        "properties",
    }
    assert found["destination"] == {"physicalName": "orders", "physicalname": "orders"}
    assert (found["messageID"], found["deliveryMode"], found["priority"]) == ("ID:test-1", 2, 4)
    assert (found["timestamp"], found["brokerInTime"], found["brokerOutTime"]) == (
        1_700_000_000_123,
        1_700_000_000_123,
        1_700_000_001_000,
    )


def test_a_repeated_attempt_is_a_redelivery() -> None:
    """Functions decide by this flag whether they may have seen the message."""
    assert event_message(parcel(1))["redelivered"] is False
    assert event_message(parcel(1, attempt=2))["redelivered"] is True


def test_bytes_keep_their_type() -> None:
    """And their content."""
    found = event_message(parcel(1, text=None, data=b"\x00\xff"))
    assert found["messageType"] == "jms/bytes-message"
    assert base64.b64decode(str(found["data"])) == b"\x00\xff"


def test_the_simple_event_has_message_and_timestamp() -> None:
    """Bytes that are no text go as base64."""
    assert simple_event(parcel(1, text="hi")) == {"message": "hi", "timestamp": "2023-11-14T22:13:20.123+00:00"}
    assert simple_event(parcel(1, text=None, data=b"\xff"))["message"] == "/w=="


@given(st.dictionaries(TEXTS, st.builds(Attribute, st.sampled_from(AttributeKind), TEXTS), max_size=14))
def test_no_property_is_lost_in_an_sqs_message(attributes: dict[str, Attribute]) -> None:
    """At most ten attributes, each with a name and value SQS takes; the rest as JSON in one of them."""
    found = message_attributes(parcel(1, attributes=attributes))
    assert len(found) <= 10
    assert all(attribute["StringValue"] for attribute in found.values())
    rest = json.loads(found["jms_properties"]["StringValue"]) if "jms_properties" in found else {}
    for name, attribute in attributes.items():
        assert name in rest or found[name]["StringValue"] == attribute.value
        assert rest.get(name, attribute.value) == attribute.value


def test_declared_types_become_sqs_types() -> None:
    """Number, String and String.Array."""
    attributes = {"n": number("42"), "s": string("x"), "a": Attribute(AttributeKind.STRING_ARRAY, "[1]")}
    found = message_attributes(parcel(1, attributes=attributes))
    assert {name: found[name]["DataType"] for name in "nsa"} == {"n": "Number", "s": "String", "a": "String.Array"}
    assert found["jms_message_id"]["StringValue"] == "ID:test-1"


@pytest.mark.parametrize("name", ["AWS.x", "amazon.x", "a b", ".x", "x.", "jms_properties", "x" * 257])
def test_names_that_sqs_refuses_go_into_the_json(name: str) -> None:
    """One of them would fail the whole batch."""
    found = message_attributes(parcel(1, attributes={name: string("v")}))
    assert json.loads(found["jms_properties"]["StringValue"]) == {name: "v"}


def test_bytes_go_as_base64_and_say_so() -> None:
    """SQS bodies are text."""
    sent = parcel(1, text=None, data=b"\x00")
    assert body_text(sent) == "AA=="
    assert message_attributes(sent)["body_encoding"]["StringValue"] == "base64"


def test_a_fifo_queue_gets_group_and_deduplication_id() -> None:
    """The group from the declared property, the id from the JMS message id: a repetition is dropped by SQS."""
    first = fifo_ids(parcel(1, attributes={"customer": string("c-7")}), "customer")
    again = fifo_ids(parcel(1, attributes={"customer": string("c-7")}, attempt=2), "customer")
    other = fifo_ids(parcel(2), "customer")
    assert first["MessageGroupId"] == "c-7"
    assert other["MessageGroupId"] == "penstock"
    assert first["MessageDeduplicationId"] == again["MessageDeduplicationId"] != other["MessageDeduplicationId"]


def test_powertools_reads_every_field_of_the_event() -> None:
    """The decoder that Python functions behind Amazon MQ use."""
    sent = replace(
        parcel(1, text='{"n": 1}', attributes={"colour": string("blue")}),
        message=replace(
            message(1, body=b'{"n": 1}', properties={"colour": "blue"}),
            correlation_id="c-1",
            reply_to="queue://answers",
            type="order",
            priority=7,
            expires_at=1_800_000_000_000,
        ),
    )
    found = ActiveMQEvent(json.loads(to_json(amazon_mq_event([sent], event_source_arn=ARN))))
    (read,) = list(found.messages)
    assert (found.event_source, found.event_source_arn) == ("aws:mq", ARN)
    assert (read.message_id, read.message_type, read.json_data) == ("ID:test-1", "jms/text-message", {"n": 1})
    assert (read.correlation_id, read.reply_to, read.get_type) == ("c-1", "queue://answers", "order")
    assert (read.priority, read.expiration, read.delivery_mode) == (7, 1_800_000_000_000, 2)
    assert (read.timestamp, read.broker_in_time, read.broker_out_time) == (
        1_700_000_000_123,
        1_700_000_000_123,
        1_700_000_001_000,
    )
    assert (read.redelivered, read.connection_id, read.properties) == (False, "penstock", {"colour": "blue"})
    assert read.destination_physicalname == "orders"
