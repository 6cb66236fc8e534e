"""What loads torch is done by a child: what it returns and raises is as if it had been done here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from study.cli.apart import apart
from study.errors import DataError, PlanError
from study.orchestration.data import locate_data
from study.paths import HomePaths
from study.plan.load import load_plans
from tests.fakes.sweep_file import TEXT, edited
from tests.fakes.tiny_study import tiny_plan

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from study.cli.apart import apart
from study.cli.orchestrate import _checked_data
from study.cli.sweep import _load_plans
from study.paths import HomePaths
from tests.fakes.tiny_study import SWEEP
(plan,) = apart(partial(_load_plans, SWEEP, "tiny.yaml", ()))
folders = apart(partial(_checked_data, plan, HomePaths(Path(sys.argv[1])), 1))
assert folders.training.is_dir() and plan.study == "tiny"
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
    with pytest.raises(DataError, match=r"STUDY_DATA=.*nowhere is not a folder"):
        apart(partial(locate_data, tiny_plan(), HomePaths(tmp_path)))


def test_what_was_still_to_be_printed_is_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    print("once", end="")
    apart(int)
    print(" only")
    assert capfd.readouterr().out == "once only\n"
