"""Functions behind the bridge: what they receive can be read from the endpoint's records."""

import base64
import time
from typing import Any


def accept(event: dict[str, Any], _context: Any) -> int:
    """Take the messages, unless one of them says "refuse"."""
    for message in event["messages"]:
        if base64.b64decode(message["data"]) == b"refuse":
            raise ValueError(f"refused {message['messageID']}")
    return len(event["messages"])


def simple(event: dict[str, str], _context: Any) -> str:
    """Take the simple event."""
    return event["message"]


def slow(_event: dict[str, Any], _context: Any) -> None:
    """Take longer than a second caller is willing to wait."""
    time.sleep(1.0)
