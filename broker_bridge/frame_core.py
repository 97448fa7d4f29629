"""The compiled part of the frame reader, where it was built: nearly all frames are usual MESSAGE frames."""

from importlib import import_module
from typing import Protocol, TypeAlias, cast

Frame: TypeAlias = tuple[str, dict[str, str], bytes]
"""Command, headers with escapes undone, body."""


class Core(Protocol):
    """What may be compiled."""

    def read_messages(self, buffer: bytearray, position: int, is_activemq: bool, /) -> tuple[list[Frame], int]:  # noqa: FBT001
        """The usual MESSAGE frames that stand as a whole from `position` on, and the position behind them.

        Whatever else stands there is left to the reader. Raises ValueError when there is no such position.
        """
        ...


class Portable:
    """The form in Python, which leaves every frame to the reader."""

    def read_messages(self, _buffer: bytearray, position: int, _is_activemq: bool, /) -> tuple[list[Frame], int]:  # noqa: FBT001
        return [], position


PORTABLE: Core = Portable()


def compiled() -> Core | None:
    """The form in C, see the folder `compiled`; None where it was not built.

    Raises:
        ImportError: it was built, and cannot be loaded.
    """
    try:
        return cast("Core", import_module("broker_bridge._core"))
    except ModuleNotFoundError:
        return None


CORE = compiled() or PORTABLE
