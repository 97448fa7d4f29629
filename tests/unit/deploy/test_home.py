"""The folder of a stack: one owner, a state that is never half."""

import os
from pathlib import Path

import pytest

from deploy.local.home import Home, HomeInUseError, default_home


def test_folder_has_one_owner(tmp_path: Path) -> None:
    """A second owner is refused with the pid of the first and what to do."""
    first = Home(tmp_path)
    first.acquire()
    with pytest.raises(HomeInUseError, match=rf"pid {os.getpid()}.*penstock down.*--home"):
        Home(tmp_path).acquire()
    first.release()
    second = Home(tmp_path)
    second.acquire()
    second.release()


def test_owner_is_known_while_the_folder_is_held(tmp_path: Path) -> None:
    """The pid while it is held, None before and after, whatever the file says."""
    home = Home(tmp_path)
    assert home.owner() is None
    home.acquire()
    assert Home(tmp_path).owner() == os.getpid()
    home.release()
    assert (tmp_path / "lock").read_text().strip() == str(os.getpid())
    assert home.owner() is None


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The last state counts; none at first."""
    home = Home(tmp_path)
    assert home.read_state() is None
    home.write_state({"pid": 1})
    home.write_state({"pid": 2})
    assert home.read_state() == {"pid": 2}


def test_home_is_chosen_by_the_environment(tmp_path: Path) -> None:
    """PENSTOCK_HOME wins over the folder below the repository."""
    assert default_home({"PENSTOCK_HOME": str(tmp_path)}) == tmp_path
    assert default_home({}).name == ".penstock"
