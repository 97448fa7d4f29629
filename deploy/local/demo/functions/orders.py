"""What happens to orders of lab supplies that need no approval or were cancelled."""

import base64
import json
from typing import Any


def preapprove(event: dict[str, Any], _context: Any) -> dict[str, list[str]]:
    """Name the orders of an Amazon MQ event that are approved without a person looking at them."""
    return {"preapproved": _order_ids(event)}


def cancel(event: dict[str, Any], _context: Any) -> dict[str, list[str]]:
    """Name the orders of an Amazon MQ event that are struck off the books."""
    return {"cancelled": _order_ids(event)}


def _order_ids(event: dict[str, Any]) -> list[str]:
    return [json.loads(base64.b64decode(message["data"]))["order_id"] for message in event["messages"]]
