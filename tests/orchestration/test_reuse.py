"""What a kill leaves behind of a run that was being taken over."""

from study.orchestration.reuse import TrainedRuns
from study.paths import HomePaths


def test_a_draft_of_a_killed_orchestrator_is_removed_and_nothing_else(tmp_path):
    home = HomePaths(tmp_path)
    study = home.study("mine")
    (study.root / ".reuse.abc" / "attempts" / "001").mkdir(parents=True)
    (study.runs / "e2mc-b1-c1-0123456789ab").mkdir(parents=True)
    other = home.study("other").root / ".reuse.def"
    other.mkdir(parents=True)
    TrainedRuns(home, "mine")
    assert sorted(path.name for path in study.root.iterdir()) == ["runs"]
    assert list(study.runs.iterdir())
    assert other.exists(), "its study has an orchestrator of its own"
