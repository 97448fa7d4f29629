"""A producer's trace through the bridge: from a JMS property to a function's client context and to gRPC metadata."""

import asyncio

from penstock.bridge.v1 import route_pb2
from penstock.delivery.v1 import target_pb2

from deploy.local.demo.session import eventually, open_session
from deploy.local.jms import JmsMessage, find_jms_client
from deploy.local.stack import EmbeddedStack
from services.runtime.telemetry import TraceContext, current_trace
from tests.integration.bridge_harness import RecordingService

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


async def test_a_producers_trace_reaches_the_targets(stack: EmbeddedStack) -> None:
    """Both targets of a route see the trace of the JMS message, each below a span of its own."""
    seen: list[TraceContext | None] = []
    service = RecordingService()

    async def look() -> None:
        seen.append(current_trace.get())

    service.before = look
    await service.start()
    jms = await asyncio.to_thread(find_jms_client, f"tcp://{stack.ports.address('openwire')}")
    try:
        async with open_session(stack.ports, jms) as session:
            targets = [
                target_pb2.Target(grpc=target_pb2.GrpcTarget(address=service.address)),
                target_pb2.Target(lambda_function=target_pb2.LambdaTarget(function_name="sample-function")),
            ]
            await session.put_route("traced", route_pb2.Route(source="queue://traced", targets=targets))
            before = len(await session.invocations("sample-function"))
            message = JmsMessage(text="x", properties={"traceparent": TRACEPARENT})
            await asyncio.to_thread(jms.send, "traced", [message])
            await session.settled("traced", 1)
            records = await eventually(lambda: session.invocations("sample-function"), "an invocation")
            custom = records[before]["client_context"]["custom"]
    finally:
        await service.stop()
    assert custom["traceparent"].split("-")[1] == TRACE_ID
    assert custom["traceparent"] != TRACEPARENT
    assert [trace and trace.trace_id for trace in seen] == [TRACE_ID]
    assert service.messages[0].properties["traceparent"].string_value == TRACEPARENT
