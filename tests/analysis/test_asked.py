"""What is asked for and is not there is refused by name; an empty table would pass for a result."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.accuracies import epochs_frame, units_frame
from analysis.asked import UnknownNameError
from analysis.contrasts import declared_contrasts
from analysis.frames import history_frame, load_study, runs_frame, trials_frame
from analysis.gallery import Gallery
from analysis.histories import confirm_histories, histories_frame
from analysis.statistics import paired_differences, unit_values
from study.errors import HomeError, did_you_mean
from study.paths import HomePaths
from study.plan.model import Confirm
from study.tracking.mlflow_tracker import MlflowTracker
from study.tracking.publisher import publish
from tests.fakes.study_home import StudyHome, make_plan

README = Path(__file__).parents[2] / "analysis" / "README.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> StudyHome:
    plan = make_plan(confirm=Confirm((1, 2), (1,)), study="fashion-mnist-ablation")
    folder = tmp_path_factory.mktemp("work") / "studies" / plan.study
    return StudyHome(folder, plan, lambda arm, base, metric: 60.0 + len(arm) % 3 * base).build()


Ask = Callable[[StudyHome, str], object]
METRICS: dict[str, Ask] = {
    "unit_values": lambda home, name: unit_values(load_study(home.root).runs, "mmcr", name, home.plan),
    "paired_differences": lambda home, name: paired_differences(
        load_study(home.root).runs, ("mmcr", "base"), name, home.plan
    ),
    "declared_contrasts": lambda home, name: declared_contrasts(load_study(home.root).runs, home.plan, name),
    "epochs_frame": lambda home, name: epochs_frame(load_study(home.root).runs, home.plan, name),
    "units_frame": lambda home, name: units_frame(load_study(home.root).runs, home.plan, name),
}


@pytest.mark.parametrize("name", ["test/knn/top", "knn/top1", "train/loss", "test/kn/top1"])
@pytest.mark.parametrize("ask", METRICS)
def test_a_metric_that_no_run_has(home: StudyHome, ask: str, name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"study 'fashion-mnist-ablation' has no metric '{name}'.*test/knn/top1"):
        METRICS[ask](home, name)


def test_a_metric_may_still_come_in_a_study_that_has_just_begun(tmp_path: Path) -> None:
    young = StudyHome(tmp_path / "toy", make_plan())
    young.write_plan()
    runs = runs_frame(young.root)
    assert unit_values(runs, "mmcr", "test/knn/top1", young.plan).isna().all()
    assert confirm_histories(young.root, runs).empty
    with pytest.raises(UnknownNameError, match=r"no metric 'test/other/top1'\. Known: test/linear_probe/top1_mean"):
        unit_values(runs, "mmcr", "test/other/top1", young.plan)


def test_an_arm_that_the_plan_does_not_have(home: StudyHome) -> None:
    with pytest.raises(UnknownNameError, match=r"has no arm 'mmcrr'\. Did you mean 'mmcr'\?"):
        unit_values(load_study(home.root).runs, "mmcrr", "test/knn/top1", home.plan)


def test_a_history_of_a_run_or_a_metric_that_is_not_there(home: StudyHome) -> None:
    run_id = home.confirm_spec("mmcr", 1).run_id
    assert len(histories_frame(home.root, run_id, "train/loss")) == 8
    assert histories_frame(home.root, run_id).empty, "the default was not logged, and nobody has asked for it"
    with pytest.raises(UnknownNameError, match="no run 'mmcr-b9'"):
        histories_frame(home.root, ["mmcr-b9"])
    with pytest.raises(UnknownNameError, match=r"no metric 'train/lss'\. Did you mean 'train/loss'"):
        confirm_histories(home.root, load_study(home.root).runs, ["train/lss"])


def test_a_directory_that_is_no_study_names_those_beside_it(home: StudyHome) -> None:
    expected = f"no plan.json. Studies in {home.root.parent}: Did you mean '{home.root.name}'? Known: {home.root.name}."
    runs, wrong = load_study(home.root).runs, home.root.with_name("fashion-mnist-ablatoin")
    asks: list[Callable[[], object]] = [
        lambda: load_study(wrong), lambda: runs_frame(wrong), lambda: trials_frame(wrong),
        lambda: history_frame(wrong, []), lambda: histories_frame(wrong, []),
        lambda: Gallery.of(wrong, "toy", "01", runs),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(HomeError, match=re.escape(expected)):
            ask()
    with pytest.raises(HomeError, match=re.escape(f"Studies in {home.root.parent}: Known: {home.root.name}.")):
        load_study(home.root.parent)
    assert not wrong.exists()
    assert len(load_study(str(home.root)).runs) == len(runs), "text will do for a path"  # type: ignore[arg-type]


def test_of_ten_thousand_names_the_nearest_are_shown() -> None:
    names = [f"e2mc-b{base}-c1-{base:012x}" for base in range(1000)]
    hint = did_you_mean(names[7] + "x", names)
    assert f"Did you mean '{names[7]}'?" in hint
    assert hint.count("e2mc-b") == 11
    assert hint.endswith("and 990 more.")


def test_the_examples_of_the_readme(
    home: StudyHome, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run as they stand, but for the address of the server; and none of what they return is empty."""
    folder = tmp_path / "studies"
    shutil.copytree(home.root, folder / home.root.name)
    for name in ("a", "b"):
        StudyHome(folder / name, make_plan(confirm=Confirm((1, 2), (1,)), study=name)).build()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    paths = HomePaths(folder)
    uri = f"sqlite:///{paths.mlflow_db}"
    publish(paths, home.plan.study, MlflowTracker(uri, paths.mlartifacts))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(block.replace("http://mlflow.example:5000", uri), names)
        made = {name: value for name, value in names.items() if hasattr(value, "columns")}
        assert "history" in made
        assert not [name for name, frame in made.items() if frame.empty]  # type: ignore[attr-defined]
