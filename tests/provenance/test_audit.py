"""What was made by other code is told by file, and what the same files concern is told once."""

from __future__ import annotations

from study.provenance.audit import OtherCode, describe, targets

BASE, RUN, OTHER = "0123456789ab", "mine-b1-c1-0123456789ab", "e2mc-b1-c1-0123456789ab"


def made(run_id: str, *changes: str, evaluation: str | None = None) -> OtherCode:
    return OtherCode(run_id, evaluation, changes, "before", "now")


def test_files_that_concern_the_same_results_are_one_line() -> None:
    found = [
        made(BASE, "training/loop.py", "torch 2.1"),
        made(RUN, "training/loop.py", "torch 2.1", "criteria/mine.py"),
        made(OTHER, "training/loop.py", "torch 2.1"),
        made(RUN, "evaluations/knn.py", evaluation="knn"),
        made(OTHER, "evaluations/knn.py", evaluation="knn"),
    ]
    assert describe(found).splitlines() == [
        f"  - training/loop.py, torch 2.1: 1 base ({BASE}), 2 runs of arms mine, e2mc",
        "  - criteria/mine.py: 1 run of arm mine",
        "  - evaluations/knn.py: knn of 2 runs of arms mine, e2mc",
    ]
    assert targets(found) == "bases mine e2mc"


def test_evaluations_of_what_is_trained_anew_need_no_word() -> None:
    assert targets([made(RUN, "a.py"), made(RUN, "b.py", evaluation="knn")]) == "mine"
    assert targets([made(RUN, "b.py", evaluation="knn")]) == "--evaluation knn"
