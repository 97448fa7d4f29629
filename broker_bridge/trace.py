"""Which trace a delivery belongs to (W3C Trace Context): producers name theirs in the JMS property `traceparent`."""

import base64
import json
from collections.abc import Sequence

from broker_bridge.parcel import Parcel
from services.runtime.telemetry import TRACE_KEY, TRACE_STATE_KEY, TraceContext, inject_trace, trace_from_mapping


def delivery_trace(parcels: Sequence[Parcel]) -> TraceContext:
    """A span below the one that all messages name; of a new trace when they name none or different ones.

    A delivery is one call and has one parent. Each message keeps its own properties on the way.
    """
    told = [parcel.message.properties for parcel in parcels]
    named = {(properties.get(TRACE_KEY), properties.get(TRACE_STATE_KEY)) for properties in told}
    return trace_from_mapping(told[0]) if len(named) == 1 else TraceContext.new()


def client_context() -> str:
    """The current trace as the ClientContext of API_Invoke: base64 of JSON, what is ours below `custom`."""
    custom: dict[str, str] = {}
    inject_trace(custom)
    return base64.b64encode(json.dumps({"custom": custom}).encode()).decode()
