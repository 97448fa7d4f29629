"""The AWS emulator: what the suite relies on works, and it never reaches beyond loopback."""

import json
from typing import Any

import boto3
import psutil
import pytest

from tests.integration.parts import RunningPart


@pytest.fixture
def client(aws_emulator: RunningPart) -> Any:
    """Gives a boto3 client for a service of the emulator."""

    def make(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://{aws_emulator.addresses['http']}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    return make


def test_sqs_returns_what_was_sent(client: Any) -> None:
    """A message goes in and out."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="embedded")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="order")
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["order"]


def test_sns_delivers_to_sqs(client: Any) -> None:
    """A published message reaches the subscribed queue."""
    sns, sqs = client("sns"), client("sqs")
    topic = sns.create_topic(Name="embedded")["TopicArn"]
    url = sqs.create_queue(QueueName="embedded-topic")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, Message="order")
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["order"]
    assert arn.split(":")[4] == "123456789012"


def test_kinesis_returns_the_records_of_a_shard(client: Any) -> None:
    """A put record is read back from its shard."""
    kinesis = client("kinesis")
    kinesis.create_stream(StreamName="embedded", ShardCount=1)
    put = kinesis.put_record(StreamName="embedded", Data=b"click", PartitionKey="p")
    iterator = kinesis.get_shard_iterator(
        StreamName="embedded", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]] == [b"click"]


def test_dynamodb_refuses_a_failed_condition(client: Any) -> None:
    """Conditional puts, on which one row per message id rests, are evaluated."""
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="embedded",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    put = {"TableName": "embedded", "Item": {"id": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(id)"}
    dynamodb.put_item(**put)
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(**put)


def test_s3_returns_the_object(client: Any) -> None:
    """An object is read back."""
    s3 = client("s3")
    s3.create_bucket(Bucket="embedded")
    s3.put_object(Bucket="embedded", Key="a/b", Body=json.dumps({"n": 1}).encode())
    assert json.load(s3.get_object(Bucket="embedded", Key="a/b")["Body"]) == {"n": 1}


def test_emulator_listens_on_loopback_only(aws_emulator: RunningPart) -> None:
    """No other interface accepts connections."""
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr
        and connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == aws_emulator.port("http")
    }
    assert listening == {"127.0.0.1"}


def test_emulator_cannot_reach_a_docker_daemon(aws_emulator: RunningPart) -> None:
    """The process runs with a Docker address on which nothing listens, and is announced as a double."""
    processes = [
        process
        for process in psutil.process_iter(["cmdline"])  # no command line is known of one that ends meanwhile
        if (process.info["cmdline"] or [])[-5:]
        == ["moto.server", "-H", "127.0.0.1", "-p", str(aws_emulator.port("http"))]
    ]
    assert [process.environ()["DOCKER_HOST"] for process in processes] == ["tcp://127.0.0.1:1"]
    assert not aws_emulator.spec.is_real
