"""Functions behind an Amazon MQ event: one that works and one that never does."""

import base64
from typing import Any


def count_messages(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Tell how many messages came, and what the first one says."""
    messages = event["messages"]
    return {"messages": len(messages), "first": base64.b64decode(messages[0]["data"]).decode()}


def fail(event: dict[str, Any], _context: Any) -> None:
    """Raise, whatever the event is: what a function with a bug looks like to the bridge."""
    raise RuntimeError(f"cannot work on {event['messages'][0]['messageID']}")
