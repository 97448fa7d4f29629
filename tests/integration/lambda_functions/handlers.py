"""Handlers that do one thing each; the tests of the Lambda endpoint invoke them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


def echo(event: Any, context: Any) -> Any:
    """Give back what the runtime was told."""
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "has_time_left": 0 < context.get_remaining_time_in_millis() <= 3000,
        "custom": context.client_context.custom if context.client_context else None,
        "pid": os.getpid(),
        "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        "setting": os.environ.get("SETTING"),
    }


def fail(event: Any, _context: Any) -> Any:
    raise ValueError(f"no such order: {event['order']}")


def fail_twice(event: Any, _context: Any) -> str:
    """Fail until the counter file has three marks."""
    counter = Path(event["counter"])
    marks = (counter.read_text() if counter.exists() else "") + "x"
    counter.write_text(marks)
    if len(marks) < 3:
        raise ValueError(f"attempt {len(marks)} fails")
    return marks


def hold(event: Any, _context: Any) -> str:
    """Block until somebody has opened the named pipe for writing and closed it again."""
    return Path(event["pipe"]).read_text()


def leave(event: Any, _context: Any) -> None:
    """End the process in the middle of the invocation."""
    if event["by"] == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_child(_event: Any, _context: Any) -> int:
    """Leave a process of its own behind."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]).pid


def answer_of(event: Any, _context: Any) -> str:
    """Answer with a string whose JSON has `bytes` bytes."""
    size: int = event["bytes"]
    return "x" * (size - 2)


def chatter(_event: Any, _context: Any) -> None:
    """Write more than a log tail holds."""
    sys.stdout.write("first line\n")
    for number in range(1000):
        sys.stdout.write(f"line {number}\n")
    sys.stderr.write("last line\n")
