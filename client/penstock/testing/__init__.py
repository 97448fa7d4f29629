"""Integration tests against the real suite: in containers, or without Docker on the embedded stack.

    pytest_plugins = ["penstock.testing.fixtures"]

    def test_an_order_is_delivered(penstock, penstock_workspace, penstock_recorder):
        queue = penstock_workspace.queue
        penstock_workspace.put_route({"source": f"queue://{queue}", "targets": [penstock_recorder.target]})
        penstock.publish(queue, "one lathe")
        assert penstock_recorder.await_deliveries(1)[0].text == "one lathe"

Where it runs is a setting: PENSTOCK_TESTING or the ini option `penstock_testing`, `embedded`, `docker` or `auto`.
`PenstockSuite` is the suite as one object; the container classes are testcontainers for single parts. Everything
blocks; nothing here needs an event loop. docs/testing.md has a whole test file.
"""

from penstock.testing.containers import (
    ActiveMQContainer,
    AwsEmulatorContainer,
    LambdaContainer,
    PartContainer,
    PenstockContainer,
    ValkeyContainer,
)
from penstock.testing.errors import (
    EngineUnavailableError,
    ImageUnavailableError,
    ModeError,
    PartFailedError,
    RecorderError,
    SuiteError,
    WaitError,
)
from penstock.testing.mode import Mode
from penstock.testing.parts import PARTS
from penstock.testing.recorder import Decision, Delivery, Recorder, accept, reject, retry
from penstock.testing.suite import PenstockSuite
from penstock.testing.workspace import Workspace

from deploy.local.jms import JmsClient, JmsError, JmsMessage, JmsReceived, JmsValue

__all__ = [
    "PARTS",
    "ActiveMQContainer",
    "AwsEmulatorContainer",
    "Decision",
    "Delivery",
    "EngineUnavailableError",
    "ImageUnavailableError",
    "JmsClient",
    "JmsError",
    "JmsMessage",
    "JmsReceived",
    "JmsValue",
    "LambdaContainer",
    "Mode",
    "ModeError",
    "PartContainer",
    "PartFailedError",
    "PenstockContainer",
    "PenstockSuite",
    "Recorder",
    "RecorderError",
    "SuiteError",
    "ValkeyContainer",
    "WaitError",
    "Workspace",
    "accept",
    "reject",
    "retry",
]
