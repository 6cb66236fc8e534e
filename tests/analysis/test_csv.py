"""The CSV files of a report read back equal with pandas' defaults: nothing turns into a missing value or a number."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from analysis.contrasts import contrasts_frame, declared_contrasts
from analysis.frames import load_study
from analysis.report import write_report
from analysis.sections import all_sections
from analysis.tables import comparison_columns, comparison_frame
from study.journal.files import write_text
from study.paths import StudyPaths
from study.plan.model import Confirm
from study.plan.names import misread
from tests.fakes.study_home import StudyHome, make_plan

NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?")
CODE = "012345678901" + "ab" * 26  # begins like a number
COMMIT = "00001234e501" + "cd" * 14


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> StudyHome:
    """A run that diverged, one that is missing, one that cannot be read, and hashes that look like numbers."""
    plan = make_plan(confirm=Confirm((1, 2, 3), (1,)), contrasts=(("mmcr", "base"), ("e2mc", "continued")))
    home = StudyHome(
        tmp_path_factory.mktemp("csv") / "toy", plan, lambda arm, base, metric: 60.1 + len(arm) % 3 * base / 7
    )
    left_out = [home.confirm_spec(arm, 2) for arm in ("mmcr", "uniformity", "e2mc")]
    home.build(skip=lambda spec: spec.run_id in [other.run_id for other in left_out])
    home.write_failed_run(left_out[0])
    write_text(home.write_run(left_out[1]).spec, "{")
    for events in home.root.rglob("events.jsonl"):
        events.write_text(events.read_text().replace('"c0ffee"', f'"{COMMIT}"'))
    for trained in home.root.rglob("trained.json"):
        trained.write_text(trained.read_text().replace('"c0de"', f'"{CODE}"'))
    return home


def read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file)


def test_numbers(home: StudyHome) -> None:
    """An empty text and a missing value are the same empty cell."""
    write_report(home.root)
    folder, frames = StudyPaths(home.root).report, load_study(home.root)
    metrics = [declared_contrasts(frames.runs, home.plan, m) for m in comparison_columns(frames.runs, home.plan)]
    expected = {
        "runs": frames.everything,
        "comparison": comparison_frame(frames.runs, home.plan),
        "contrasts": contrasts_frame([contrast for family in metrics for contrast in family]),
    }
    assert (frames.runs["commit"] == COMMIT).any()
    for name, frame in expected.items():
        filled = frame.replace("", None)
        assert_frame_equal(read(folder / f"{name}.csv"), filled, check_dtype=False, rtol=1e-14)


def test_tables_of_text(home: StudyHome) -> None:
    """Every cell comes back as it was, or as the number that it says."""
    write_report(home.root)
    sections = [s for s in all_sections(load_study(home.root)) if s.stem not in ("comparison", "contrasts")]
    assert {"secondary", "components", "winners", "budget", "failures", "environment"} == {s.stem for s in sections}
    for section in sections:
        found = read(StudyPaths(home.root).report / f"{section.stem}.csv")
        assert found.columns.tolist() == section.table.columns.tolist()
        for column in found.columns:
            for cell, back in zip(section.table[column], found[column], strict=True):
                assert is_same(cell, back), (section.stem, column, cell, back)


def is_same(cell: str, back: Any) -> bool:
    if isinstance(back, str):
        return cell == back
    if pd.isna(back):
        return cell == ""
    return NUMBER.fullmatch(cell) is not None and float(cell) == back


NAMES = [
    "NA", "nan", "NaN", "None", "null", "NULL", "true", "False", "T", "inf", "Infinity", "1e3", "1E3", "5", "010",
        "1_000",
    "0x1F", "2024-01-02", "1-2", "2024-01", "Jan-1", "1-jan", "SEPT2", "march1", "12mar", "dec2024",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_names_in_a_table(name: str) -> None:
    assert misread(name) is not None


@pytest.mark.parametrize(
    "name", ["base", "e2mc-no-entropy", "E2", "2x2", "decay1", "octopus2", "arm-1e3", "nanny", "10k"]
)
def test_names_that_are_names(name: str) -> None:
    assert misread(name) is None
    assert pd.read_csv(io.StringIO(f"arm\n{name}\n"))["arm"].tolist() == [name]


@pytest.mark.parametrize("name", ["NA", "1e3", "true"])
def test_a_stored_plan_with_such_a_name_still_reports(tmp_path: Path, name: str) -> None:
    plan = make_plan(confirm=Confirm((1, 2), (1,)))
    arms = tuple(replace(arm, name=name) if arm.name == "mmcr" else arm for arm in plan.arms)
    home = StudyHome(tmp_path / "toy", replace(plan, arms=arms, contrasts=((name, "continued"),))).build()
    assert f"{name} − continued" in write_report(home.root).text
