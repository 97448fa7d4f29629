"""`python -m tests.integration.early_ack_bridge`: a bridge with the mistake that loses messages, for the control test.

It acknowledges what it takes before it delivers it. A restart test that does not notice proves nothing.
"""

import runpy
from collections.abc import Sequence

import broker_bridge.route_runner
from broker_bridge.pump import Pump
from broker_bridge.settlement import Entry


class EarlyAckPump(Pump):
    """Settles first, delivers afterwards."""

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        super()._settle(entries)
        await super()._deliver(entries)

    def _settle(self, entries: Sequence[Entry]) -> None:
        """Done before."""


if __name__ == "__main__":
    runner = vars(broker_bridge.route_runner)
    assert runner["Pump"] is Pump, "the mistake would be made nowhere"
    runner["Pump"] = EarlyAckPump
    runpy.run_module("broker_bridge", run_name="__main__")
