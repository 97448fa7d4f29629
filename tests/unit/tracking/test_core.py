"""The compiled part of the intake: absent is well, broken is not."""

from collections.abc import Callable

import pytest

from services.tracking import core
from services.tracking.core import PORTABLE, compiled


def test_without_it_python_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a C compiler."""
    monkeypatch.setattr(core, "import_module", raising(ModuleNotFoundError("No module named '_core'")))
    assert compiled() is None
    assert PORTABLE.split(b"") is None


def test_one_that_cannot_be_loaded_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be slow without a word."""
    monkeypatch.setattr(core, "import_module", raising(ImportError("undefined symbol")))
    with pytest.raises(ImportError, match="undefined symbol"):
        compiled()


@pytest.mark.skipif(compiled() is None, reason="services/tracking/compiled is not built: no C compiler, or no Python.h")
def test_of_no_events_nothing_is_made() -> None:
    """Bytes, all the same."""
    found = compiled()
    assert found is not None
    assert found.accept_all(b"", {}, b"", {}, {}, 1, 0.0, lambda _user_agent: False) == (b"", b"", [])


def raising(error: Exception) -> Callable[[str], None]:
    def import_module(_name: str) -> None:
        raise error

    return import_module
