"""What loads torch is done by a child: what it returns and raises is as if it had been done here."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from study.cli.apart import apart
from study.cli.sweep import _check
from study.errors import PlanError, UserError
from study.orchestration.readiness import Start
from study.paths import HomePaths
from study.plan.load import load_plans
from study.plan.site import Site
from tests.fakes.sweep_file import TEXT, edited
from tests.fakes.tiny_study import is_running, tiny_plan, wait_for

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from study.cli import orchestrate, sweep
from study.cli.apart import apart
from study.orchestration.readiness import Start
from study.paths import HomePaths
from study.plan.site import Site
from tests.fakes.tiny_study import SWEEP
home = HomePaths(Path(sys.argv[1]))
plans = apart(partial(sweep._load_plans, SWEEP, "tiny.yaml", (), home))
ready = apart(partial(sweep._check, Start(plans, home, Site())))
ready.require()
(study,) = ready.studies
assert study.data.training.is_dir() and study.plan.study == "tiny" and study.expected.total_s() > 0
apart.end()
print([name for name in ("torch", "pandas", "mlflow", "matplotlib") if name in sys.modules])
"""


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    apart.end()


def test_an_orchestrator_has_none_of_what_its_children_load(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_what_comes_back_is_equal() -> None:
    assert apart(partial(load_plans, TEXT, "x.yaml")) == load_plans(TEXT, "x.yaml")


def test_mistakes_come_back_with_all_that_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = edited(base__epochs=-3, reference="nobody")
    with pytest.raises(PlanError) as here:
        load_plans(wrong, "x.yaml")
    with pytest.raises(PlanError) as there:
        apart(partial(load_plans, wrong, "x.yaml"))
    assert str(there.value) == str(here.value) and there.value.problems == here.value.problems
    assert len(there.value.problems) == 2
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "nowhere"))
    apart.end()  # the next child has this environment
    ready = apart(partial(_check, Start([tiny_plan()], HomePaths(tmp_path), Site())))
    with pytest.raises(UserError, match=r"STUDY_DATA=.*nowhere is not a folder"):
        ready.require()


def test_what_was_still_to_be_printed_is_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    print("once", end="")
    apart(int)
    print(" only")
    assert capfd.readouterr().out == "once only\n"


def test_work_that_nobody_waits_for_any_more_is_given_up() -> None:
    """As after Ctrl-C during a download: the command ends at once."""
    waiting = apart.begin(partial(time.sleep, 600))
    apart.end()
    assert not multiprocessing.active_children()
    with pytest.raises(UserError):
        waiting()
    assert apart(int) == 0, "and a new child serves what comes next"


def test_a_child_that_is_killed_is_told_in_one_message() -> None:
    with pytest.raises(UserError, match=r"was killed, perhaps for lack of memory .*the same command again"):
        apart(partial(os._exit, 9))
    apart.end()
    assert apart(int) == 0


def test_a_child_does_not_outlive_a_killed_parent() -> None:
    program = (
        "import os, time\nfrom functools import partial\nfrom study.cli.apart import apart\n"
        "print(apart(os.getpid), flush=True)\napart(partial(time.sleep, 600))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not is_running(child), "the end of the child")


SOURCE = """
class Own(Exception):
    def __init__(self, a, b):
        super().__init__(a)

def fail(kind):
    raise Own("of my own", 2) if kind == "own" else ValueError("of my own")
"""


@pytest.mark.parametrize("kind", ["own", "plain"])
def test_a_fault_of_a_component_is_told_with_its_place(kind: str) -> None:
    """Its traceback stays in the child, and an exception that cannot be pickled as well; the line is known."""
    name = "Own" if kind == "own" else "ValueError"
    told = f"study/criteria/mine.py, line 7, in fail: {name}: of my own (STUDY_TRACEBACK=1 shows how it got there)"
    with pytest.raises(UserError) as caught:
        apart(partial(_fail, kind))
    assert str(caught.value) == told


def test_its_traceback_is_there_for_whoever_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_TRACEBACK", "1")
    with pytest.raises(ValueError, match="of my own") as caught:
        apart(partial(_fail, "plain"))
    assert "line 7, in fail" in str(caught.value.__cause__)


def _fail(kind: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(SOURCE, str(ROOT / "study" / "criteria" / "mine.py"), "exec"), names)
    names["fail"](kind)
