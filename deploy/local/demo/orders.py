"""Orders: a JMS producer publishes six orders; five filter policies decide where each of them goes."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from penstock.bridge.v1 import route_pb2
from penstock.filtering.v1 import filtering_service_pb2 as filtering_pb
from penstock.filtering.v1 import message_pb2, subscription_pb2

from deploy.local.demo.expectation import Expectation, StoryResult
from deploy.local.demo.session import Session
from deploy.local.jms import JmsMessage

SUBSCRIPTIONS = Path(__file__).with_name("subscriptions.json")
QUEUE = "orders"
SQS_QUEUES = ("Lab-Orders-AP", "Lab-Orders-EU", "Common-Orders")
FUNCTIONS = {"lab-preapproved": "Lab-Preapproved", "lab-cancelled": "Lab-Cancelled"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An order and the one subscription it belongs to."""

    order_id: str
    order_type: str
    order_value: int
    location: str
    subscription: str

    @property
    def title(self) -> str:
        """How the order is shown."""
        return f"{self.order_type}, {self.order_value}, {self.location}"


ORDERS: Sequence[Order] = (
    Order(
        order_id="order-1",
        order_type="lab-supplies",
        order_value=15700,
        location="Asia-Pacific-Southeast",
        subscription="Lab-Orders-AP",
    ),
    Order(
        order_id="order-2",
        order_type="lab-supplies",
        order_value=1833,
        location="Europe-West",
        subscription="Lab-Orders-EU",
    ),
    Order(
        order_id="order-3",
        order_type="lab-supplies",
        order_value=415,
        location="US-East",
        subscription="Lab-Preapproved",
    ),
    Order(
        order_id="order-4", order_type="lab-supplies", order_value=0, location="US-East", subscription="Lab-Cancelled"
    ),
    Order(
        order_id="order-5",
        order_type="office-supplies",
        order_value=1010,
        location="Europe-West",
        subscription="Common-Orders",
    ),
    Order(
        order_id="order-6",
        order_type="tech-supplies",
        order_value=190,
        location="Asia-Pacific-South",
        subscription="Common-Orders",
    ),
)


async def tell(session: Session, subscriptions: Path = SUBSCRIPTIONS) -> StoryResult:
    """Publish the orders and read back what every subscription received."""
    queue_urls = await asyncio.to_thread(_create_sqs_queues, session.sqs)
    before = {name: len(await session.invocations(name)) for name in FUNCTIONS}
    await put_subscriptions(session, subscriptions)
    await session.put_route(
        "orders",
        route_pb2.Route(
            source=f"queue://{QUEUE}",
            filter_topic="Orders",
            attributes={"order_value": message_pb2.ATTRIBUTE_TYPE_NUMBER},
        ),
    )
    settled = (await session.settled("orders", 0)).settled
    await asyncio.to_thread(session.jms.send, QUEUE, [jms_message(order) for order in ORDERS])
    await session.settled("orders", settled + len(ORDERS))
    received = {name: await asyncio.to_thread(_drain_sqs, session.sqs, url) for name, url in queue_urls.items()}
    for function, subscription in FUNCTIONS.items():
        invocations = (await session.invocations(function))[before[function] :]
        received[subscription] = [order_id for record in invocations for order_id in _answered_order_ids(record)]
    return StoryResult(title="Orders: filter policies on JMS messages", expectations=_compare(received))


async def put_subscriptions(session: Session, path: Path = SUBSCRIPTIONS) -> None:
    """Put every subscription of a JSON list through the filtering service; `${aws}` is the emulator's address."""
    text = await asyncio.to_thread(path.read_text)
    for document in json.loads(text.replace("${aws}", session.aws_url)):
        subscription = json_format.ParseDict(document, subscription_pb2.Subscription())
        await session.filtering.PutSubscription(filtering_pb.PutSubscriptionRequest(subscription=subscription))


def jms_message(order: Order) -> JmsMessage:
    """A JMS text message with typed properties, as a legacy order system sends it."""
    return JmsMessage(
        text=json.dumps({"order_id": order.order_id}),
        properties={"order_type": order.order_type, "order_value": order.order_value, "location": order.location},
    )


def _create_sqs_queues(sqs: Any) -> Mapping[str, str]:
    return {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in SQS_QUEUES}


def _drain_sqs(sqs: Any, url: str) -> list[str]:
    order_ids: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            order_ids.append(json.loads(message["Body"])["order_id"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return order_ids


def _answered_order_ids(record: Mapping[str, Any]) -> Sequence[str]:
    response = record["response"] or {}
    return [order_id for order_ids in response.values() for order_id in order_ids]


def _compare(received: Mapping[str, Sequence[str]]) -> Sequence[Expectation]:
    return [
        Expectation(
            what=order.title,
            expected=order.subscription,
            received=", ".join(name for name, ids in received.items() for order_id in ids if order_id == order.order_id)
            or "nowhere",
        )
        for order in ORDERS
    ]
