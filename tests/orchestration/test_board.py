"""What people read while a study runs is so."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from study.journal.heartbeat import Heartbeat, Stage
from study.orchestration.board import Board
from study.orchestration.ledger import Ledger
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase
from tests.fakes.study_home import make_plan
from tests.fakes.tiny_study import pretraining


@pytest.fixture
def lines():
    """Shows a progress on a board that is no terminal; returns its lines."""
    text = io.StringIO()
    board = Board(Console(file=text, soft_wrap=True), slots=2)

    def show(progress: Progress) -> list[str]:
        text.seek(0)
        text.truncate()
        board._last_line = -1e9
        board.show(progress)
        return text.getvalue().splitlines()

    return show


def progress(*news: str, **views: RunView) -> Progress:
    ledger = Ledger(make_plan())
    for name, view in views.items():
        ledger.add(replace(pretraining(1), run_id=name), Phase.TUNE, view)
    return Progress(ledger, {}, news=news)


def active(beat: Heartbeat | None, **details: object) -> RunView:
    known = beat or Heartbeat()
    return RunView(RunStatus.ACTIVE, known.step, known.num_steps, beat=beat, **details)


def test_only_what_has_a_process_is_said_to_run(lines) -> None:
    beats = {
        "starts": Heartbeat(),
        "trains": Heartbeat(phase=Stage.TRAINING, step=3, num_steps=10),
        "evaluates": Heartbeat(phase=Stage.EVALUATING, what="linear_probe-test-1a2b", step=8, num_steps=10),
    }
    running = {name: active(beat) for name, beat in beats.items()}
    (line,) = lines(progress(**running, waits=active(None), too=active(None)))
    expected = "running: starts starting, trains step 3/10, evaluates evaluating linear_probe; in line: 2 runs"
    assert line.endswith(expected)
    (line,) = lines(progress(waits=active(None)))
    assert line.endswith("running: nothing; in line: 1 run")


def test_what_comes_back_is_told_again_and_trouble_of_a_run_once(lines) -> None:
    """A partition that is down twice is news twice; the executor sees to it that each is said once."""
    view = active(Heartbeat(), trouble=("attempt 1: preempted",))
    assert lines(progress("down", a=view))[:2] == ["down", "a: attempt 1: preempted"]
    assert lines(progress("down", a=view))[0] == "down"
    assert len(lines(progress(a=view))) == 1
