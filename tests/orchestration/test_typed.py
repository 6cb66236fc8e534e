"""What a message says to type works when it is typed: the same program, home and site."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from study.cli import main
from study.errors import LeaseHeldError
from study.journal.endings import Ending, EndKind
from study.journal.files import write_json
from study.journal.process import this_process
from study.journal.replay import AttemptState, AttemptStatus
from study.orchestration import typed
from study.orchestration.actions import store_plan
from study.orchestration.lease import Lease
from study.orchestration.policy import RULES, reason_to_give_up
from study.paths import HomePaths
from tests.fakes.tiny_study import SWEEP, tiny_plan

GIVEN = ["study/run_sweep.py", "it's mine.yaml", "a=[1, 2]", "--home", "/data/my home", "--site=s.yaml"]


def test_the_same_command_is_what_was_typed() -> None:
    text = typed.same_command(given=GIVEN)
    assert shlex.split(text) == ["python", *GIVEN]
    assert shlex.split(typed.same_command("--take-over", given=GIVEN)) == ["python", *GIVEN, "--take-over"]
    assert typed.same_command("--take-over", given=[*GIVEN, "--take-over"]).count("--take-over") == 1


def test_python_m_study_is_typed_as_such() -> None:
    given = ["/somewhere/study/__main__.py", "stop", "tiny", "--home", "x"]
    assert typed.same_command(given=given) == "python -m study stop tiny --home x"


def test_the_command_of_a_study_can_be_typed_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["run_sweep.py", "x.yaml"])
    record = typed.record_of_command(Path("studies"))
    expected = f"cd {tmp_path} && python run_sweep.py x.yaml --home {tmp_path / 'studies'}"
    assert typed.command_of(record) == expected, "the environment may have chosen the home"
    assert typed.command_of({**record, "argv": GIVEN}) == f"cd {tmp_path} && {typed.same_command(given=GIVEN)}"
    assert typed.command_of(None) is None


def test_a_lease_that_is_held_says_how_to_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", GIVEN)
    lease = tmp_path / "my home" / "tiny" / "lease"
    lease.parent.mkdir(parents=True)
    Lease.acquire(lease)
    with pytest.raises(LeaseHeldError) as caught:
        Lease.acquire(lease)
    stop = str(caught.value).split("Stop it first: ")[1]
    assert shlex.split(stop) == ["python", "-m", "study", "stop", "tiny", "--home", str(tmp_path / "my home")]
    write_json(lease, {**this_process(), "host": "elsewhere", "token": "x", "beat": time.time()})
    with pytest.raises(LeaseHeldError) as caught:
        Lease.acquire(lease)
    assert str(caught.value).endswith(f"if you know that it is dead: {typed.same_command('--take-over', given=GIVEN)}")


def test_status_says_how_to_carry_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    home = HomePaths(tmp_path / "home")
    study = home.study("tiny")
    study.root.mkdir(parents=True)
    store_plan(study, tiny_plan(), SWEEP)
    assert main(["status", "tiny", "--home", str(home.root)]) == 0
    assert (
        "Carry on with the command that started it; its sweep file is kept in tiny/plan.yaml" in capsys.readouterr().out
    )
    monkeypatch.setattr("sys.argv", GIVEN)
    write_json(study.command, typed.record_of_command(home.root))
    assert main(["status", "tiny", "--home", str(home.root)]) == 0
    assert f"Carry on: cd {Path.cwd()} && {typed.same_command(given=GIVEN)}" in capsys.readouterr().out


def test_advice_names_the_site_file() -> None:
    verdict = Ending(EndKind.LAUNCH_FAILED, "so")
    attempts = [AttemptState(1, AttemptStatus.STARTED, {}, verdict=verdict)] * 3
    advice = "Try the site: python -m study site check '/x/my site.yaml'"
    assert advice in str(reason_to_give_up(attempts, Path("/x/my site.yaml")))
    assert "site check FILE" in str(reason_to_give_up(attempts))
    assert all("{" not in rule.advice.format(check_site="x") for rule in RULES.values())
