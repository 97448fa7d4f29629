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


_failed: set[str] = set()


def partly(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Fail messages that say "fail once" at their first attempt, in the form of batchItemFailures."""
    failures = []
    for message in event["messages"]:
        identifier = message["messageID"]
        if base64.b64decode(message["data"]) == b"fail once" and identifier not in _failed:
            _failed.add(identifier)
            failures.append({"itemIdentifier": identifier})
    return {"batchItemFailures": failures}


def answer(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Answer every message in its own way; fail one that says "fail once" at its first attempt, with a reply to it."""
    replies: dict[str, Any] = {"ID:nobody": "a stray reply"}
    failures = []
    for message in event["messages"]:
        identifier, text = message["messageID"], base64.b64decode(message["data"]).decode()
        replies[identifier] = f"{text} too"
        if text == "bytes":
            replies[identifier] = {"data": base64.b64encode(b"\x00\xff").decode(), "properties": {"status": "ok"}}
        elif text == "garbage":
            replies[identifier] = [text]
        elif text == "fail once" and identifier not in _failed:
            _failed.add(identifier)
            failures.append({"itemIdentifier": identifier})
            replies[identifier] = "the reply to an attempt that failed"
    return {"batchItemFailures": failures, "replies": replies}


def simple(event: dict[str, str], _context: Any) -> str:
    """Take the simple event."""
    return event["message"]


def slow(_event: dict[str, Any], _context: Any) -> None:
    """Take longer than a second caller is willing to wait."""
    time.sleep(1.0)
