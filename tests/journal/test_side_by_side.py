"""Many are read in their order, by other threads only where reading waits."""

from __future__ import annotations

import threading
import time

import pytest

from study.journal.side_by_side import side_by_side


@pytest.mark.parametrize("number", [0, 1, 31, 32, 33, 200])
@pytest.mark.parametrize("wait_s", [0.0, 0.001])
def test_results_come_in_their_order(number: int, wait_s: float) -> None:
    def read(one: int) -> int:
        time.sleep(wait_s)
        return one * one

    assert list(side_by_side(read, range(number))) == [one * one for one in range(number)]


@pytest.mark.parametrize(("wait_s", "has_help"), [(0.0, False), (0.002, True)])
def test_others_help_where_reading_waits(wait_s: float, *, has_help: bool) -> None:
    readers = set()

    def read(_: int) -> None:
        readers.add(threading.get_ident())
        if wait_s:
            time.sleep(wait_s)

    list(side_by_side(read, range(500)))
    assert (len(readers) > 1) is has_help
    assert len(readers) <= 33


def test_what_fails_is_raised_where_it_is_asked_for() -> None:
    found = side_by_side(lambda one: 1 // (one - 100), range(200))
    assert len([next(found) for _ in range(96)]) == 96
    with pytest.raises(ZeroDivisionError):
        list(found)
