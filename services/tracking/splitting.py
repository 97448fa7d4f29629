"""The compiled part of the intake, where it was built: a batch taken apart without a message per event.

Elsewhere, for want of a C compiler, `split` leaves everything to protobuf: the same answers, more slowly.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

Split = Callable[[bytes], Sequence[Any] | None]


def compiled() -> Split | None:
    """`split` in C; None where it was not built."""
    try:
        return cast("Split", import_module("services.tracking._core").split)
    except ImportError:
        return None


def left_to_protobuf(_request: bytes) -> None:
    """What `split` answers where it was not built, and of requests it does not understand."""


split: Split = compiled() or left_to_protobuf
"""The events of a serialized BatchTrackEventsRequest: an `Arrival` for each plain one, bytes for any other.

None when the request is more, or less, than events; nothing is known about it then. See `compiled/splitting.c`.
"""
