"""Configuration: a route added from the command line takes effect while the bridge runs."""

import asyncio
import json
import sys
import time
import uuid

from penstock.config.v1 import config_service_pb2 as config_pb

from deploy.local.demo.expectation import Expectation, StoryResult
from deploy.local.demo.session import PATIENCE_SECONDS, Session
from deploy.local.jms import JmsMessage


class CommandError(Exception):
    """The command refused; the message is its own."""


async def tell(session: Session) -> StoryResult:
    """Put a route with `penstock params put`, then send a message through it."""
    name = f"late-{uuid.uuid4().hex[:8]}"
    route = {"source": f"queue://{name}", "targets": [{"lambda_function": {"function_name": "sample-function"}}]}
    active = asyncio.create_task(_active_at(session, name))
    try:
        printed = await _params_put(session, f"/penstock/routes/{name}", json.dumps(route))
        active_at = await active
    finally:
        active.cancel()
    response = await session.config.GetParameter(config_pb.GetParameterRequest(name=f"/penstock/routes/{name}"))
    stored_at = response.parameter.modified_at.ToNanoseconds() / 1e9
    milliseconds = 1000 * (active_at - stored_at)
    before = len(await session.invocations("sample-function"))
    await asyncio.to_thread(session.jms.send, name, [JmsMessage(text="through the new route")])
    await session.settled(name, 1)
    invocations = (await session.invocations("sample-function"))[before:]
    return StoryResult(
        title="Configuration: a route added while the bridge runs",
        expectations=[
            Expectation(what="penstock params put", expected="version 1", received=printed),
            Expectation(what="messages delivered by the new route", expected="1", received=str(len(invocations))),
        ],
        measurements=[f"route stored -> confirmed by the broker: {milliseconds:.1f} ms"],
    )


async def _params_put(session: Session, name: str, value: str) -> str:
    target = session.ports.address("config")
    command = (sys.executable, "-m", "cli", "params", "put", name, value, "--target", target, "--json")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    if process.returncode:
        raise CommandError(f"penstock params put: exit code {process.returncode}: {errors.decode().strip()}")
    return f"version {json.loads(output)['version']}"


async def _active_at(session: Session, name: str) -> float:
    await session.route_active(name)
    return time.time()
