"""A rehearsal of the real command: what is there is counted, nothing is written, and it fails as a start would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.cli import run_sweep
from tests.fakes.command import Command, Sweep
from tests.fakes.folders import times_of

Rehearse = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rehearse(
    finished: tuple[Sweep, Command], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Rehearse:
    """Rehearses the finished study, with changes, in its home: exit code, what is printed, and errors."""
    sweep, _ = finished
    for name, value in sweep.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(sweep.folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_sweep([*map(str, sweep.arguments()), *arguments, "--dry-run"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def phases(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (prepare|tune|confirm) +(.*)$", text, re.MULTILINE))


def test_a_finished_study_has_nothing_left_to_do(rehearse: Rehearse, finished: tuple[Sweep, Command]) -> None:
    home = finished[0].home_root
    before = times_of(home)
    code, text, errors = rehearse()
    assert (code, errors) == (0, "")
    assert "Nothing is left to do: all that the plan asks for is there." in text and "Expected" not in text
    assert phases(text) == {"prepare": "3: 3 trained in this home already", "tune": "2: 2 done", "confirm": "6: 6 done"}
    assert times_of(home) == before


def test_another_study_finds_what_the_home_has(rehearse: Rehearse) -> None:
    _, text, _ = rehearse("study=twin", "--slots", "3")
    assert phases(text)["prepare"] == "3: 3 trained in this home already"
    assert phases(text)["tune"].startswith("2: 1 taken over from other studies; 1 to train, about ")
    assert phases(text)["confirm"].startswith("6: 4 taken over from other studies; 2 to train, about ")
    assert "prepare" not in text.partition("Time of one slot")[2].partition("all")[0]
    assert re.search(r"^Expected: .* with 3 slots \(--slots\)\.$", text, re.MULTILINE)
    _, fresh, _ = rehearse("study=twin", "--fresh")
    assert phases(fresh)["confirm"].startswith("6: 4 to train") and "2 only to evaluate" in phases(fresh)["confirm"]


def test_more_seeds_are_the_only_work_left(rehearse: Rehearse) -> None:
    _, text, _ = rehearse("confirm.base_seeds=[1, 2, 3]")
    assert phases(text)["prepare"].startswith("4: 3 trained in this home already; 1 to train, about ")
    assert (
        phases(text)["confirm"].startswith("9: 6 done; 2 to train, about ") and "; 1 only to" in phases(text)["confirm"]
    )


def test_blocks_count_what_they_share_once(rehearse: Rehearse) -> None:
    _, text, _ = rehearse("study=new", "blocks={continuation.epochs: [1, 2]}", "base.epochs=2")
    first, second = text.split("new-2: ")
    assert phases(first)["prepare"].startswith("3: 3 to train, about ")
    assert phases(second)["prepare"] == "3: 3 shared with a study above"
    assert "2 taken over from other studies" in phases(second)["confirm"], "those that are not continued"


def test_it_fails_as_a_start_would_and_says_what_it_can(
    rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUDY_DATA", "/nowhere")
    monkeypatch.setenv("STUDY_HOME", str(tmp_path / "home"))
    code, text, errors = rehearse("confirm.base_seeds=[1, 2, 3]")
    assert code == 2 and "Runs:" in text and "Expected: " in text
    assert errors.startswith("error: STUDY_DATA=/nowhere is not a folder; set it to the folder that holds the dataset")
    assert not (tmp_path / "home").exists()


def test_results_of_other_code_are_refused_as_by_a_start(
    rehearse: Rehearse, finished: tuple[Sweep, Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished[0].home_root, tmp_path / "home")
    monkeypatch.setenv("STUDY_HOME", str(tmp_path / "home"))
    for trained in (tmp_path / "home" / "bases").glob("*/trained.json"):
        text = trained.read_text()
        trained.unlink()  # it may be a link to the attempt's
        trained.write_text(re.sub(r'"code": "[0-9a-f]{8}', '"code": "00000000', text))
    code, _, errors = rehearse("study=twin")
    assert code == 2 and "other code" in errors
    assert rehearse("study=twin", "--accept-code-change")[0] == 0
