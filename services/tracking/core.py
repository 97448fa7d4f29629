"""The compiled part of the intake, where it was built: batches read and decided without a message per event.

Elsewhere, for want of a C compiler, all is left to protobuf and to `intake`: the same answers, more slowly.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

Terms = tuple[bytes, bytes, Sequence[bytes], Sequence[bytes]]
"""Of an accepting program: checksum, stamp, ends and templates, as `verdict` has them."""


class Core(Protocol):
    """What may be compiled. Each function answers None where it leaves a request to others."""

    def split(self, request: bytes) -> Sequence[Any] | None:
        """The events of a serialized BatchTrackEventsRequest: an `Arrival` for a plain one, bytes for any other."""

    def programs_of(self, request: bytes) -> set[bytes] | None:
        """The programs of at most 5000 events that are all plain."""

    def accept_all(
        self,
        request: bytes,
        terms: Mapping[bytes, Terms],
        reception: bytes,
        new_ids: dict[bytes, int],
        before: dict[bytes, int],
        batch: int,
        late_before: float,
        is_robot: Callable[[bytes], bool],
    ) -> tuple[bytes, bytes, list[bytes]] | None:
        """Answer, payload and message ids of a batch of plain events, now entered into `new_ids`.

        Only if each is of a program with terms, has no wrong checksum, and an id that is in no generation and once in
        the batch; otherwise nothing is entered.
        """


class Portable:
    """The form in Python, which leaves everything to others."""

    def split(self, _request: bytes) -> None:
        return None

    def programs_of(self, _request: bytes) -> None:
        return None

    def accept_all(self, *_arguments: object) -> None:
        return None


PORTABLE: Core = Portable()


def compiled() -> Core | None:
    """The form in C, see the folder `compiled`; None where it was not built.

    Raises:
        ImportError: it was built, and cannot be loaded.
    """
    try:
        return cast("Core", import_module("services.tracking._core"))
    except ModuleNotFoundError:
        return None


CORE = compiled() or PORTABLE
