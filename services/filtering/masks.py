"""The implementation of masks in use: the compiled one where it was built, the portable one elsewhere."""

from importlib import import_module
from typing import cast

from services.filtering import bitset
from services.filtering.bitset import Bitset

PORTABLE = cast("Bitset", bitset)
"""The implementation in Python."""


def compiled() -> Bitset | None:
    """The implementation in C; None where it was not built, for want of a compiler.

    Raises:
        ImportError: it was built, and cannot be loaded.
    """
    try:
        return cast("Bitset", import_module("services.filtering._core"))
    except ModuleNotFoundError:
        return None


BITSET = compiled() or PORTABLE
