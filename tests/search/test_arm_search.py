"""The search of one arm survives whatever a killed orchestrator leaves behind."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from scipy.stats import kstest, pearsonr

from study.errors import HomeError, StudyError
from study.plan.space import FloatRange
from study.search.arm_search import ArmSearch, Trial, TrialState, winner
from study.search.trial import SearchDefinition

SPACE = {"criterion.weight": FloatRange(1e-4, 1.0, log=True), "criterion.scale": FloatRange(0, 2)}
START = {"criterion.weight": 0.5, "criterion.scale": 1.0}
SCALE_ALONE = {"space": {"criterion.scale": FloatRange(0, 2)}, "start": {"criterion.scale": 1.8}}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "search" / "e2mc.log"


def open_search(log: Path, **changes: Any) -> ArmSearch:
    arguments = {"study": "small", "arm": "e2mc", "space": SPACE, "start": START, "sampler": "tpe", **changes}
    return ArmSearch(log=log, **arguments)


def quadratic(trial: Trial) -> float:
    """Largest, 0, at weight 0.01 and scale 0.5."""
    weight = math.log10(trial.params["criterion.weight"]) + 2
    return -((weight / 4) ** 2) - ((trial.params["criterion.scale"] - 0.5) / 2) ** 2


def run(search: Callable[[], ArmSearch], num_trials: int) -> list[Trial]:
    for _ in range(num_trials):
        trial = search().ask()
        search().tell(trial.number, quadratic(trial), TrialState.COMPLETE)
    return search().trials()


def test_trial_0_is_the_start(log: Path) -> None:
    assert open_search(log).ask() == Trial(0, START, TrialState.RUNNING, None)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_restarts_change_no_point(log: Path, tmp_path: Path, sampler: str) -> None:
    search = open_search(log, sampler=sampler)
    without = run(lambda: search, 14)
    restarted = run(lambda: open_search(tmp_path / "other.log", sampler=sampler), 14)
    assert without == restarted
    assert len({tuple(t.params.values()) for t in without}) == 14


def test_arms_draw_the_same_random_points_and_studies_others(log: Path, tmp_path: Path) -> None:
    """Whatever else an arm tunes: one that drew better rates would look better on every base."""
    wider = {"criterion.weight": FloatRange(1e-3, 10.0, log=True), "criterion.scale": SPACE["criterion.scale"]}
    variants = [{"arm": "a"}, {"arm": "b", **SCALE_ALONE}, {"arm": "c", "space": wider}, {"study": "x"}]
    searches = [open_search(tmp_path / f"{number}.log", **changes) for number, changes in enumerate(variants)]
    first, second, third, other = ([search.ask() for _ in range(6)][1:] for search in searches)
    scales = [[trial.params["criterion.scale"] for trial in trials] for trials in (first, second, third, other)]
    assert scales[0] == scales[1] == scales[2]
    assert len({*scales[0], *scales[3]}) == 10
    weights = [[trial.params["criterion.weight"] for trial in trials] for trials in (first, third)]
    shares = [[math.log10(w / 1e-4) / 4 for w in weights[0]], [math.log10(w / 1e-3) / 4 for w in weights[1]]]
    assert shares[0] == pytest.approx(shares[1]), "the same share of its own range"


def test_random_points_are_spread_evenly() -> None:
    """Kolmogorov-Smirnov on 2,000 shares of each parameter, and no correlation between the two."""
    definition = SearchDefinition(study="small", arm="e2mc", space=SPACE, start=START, sampler="random")
    points = [definition.random_point(number) for number in range(2000)]
    weights = [math.log10(point["criterion.weight"] / 1e-4) / 4 for point in points]
    scales = [point["criterion.scale"] / 2 for point in points]
    assert all(kstest(shares, "uniform").pvalue > 1e-3 for shares in (weights, scales))
    assert abs(pearsonr(weights, scales).statistic) < 4 / math.sqrt(2000)


def test_order_of_the_space_does_not_matter(log: Path, tmp_path: Path) -> None:
    backwards = {name: SPACE[name] for name in reversed(SPACE)}
    turned = run(lambda: open_search(tmp_path / "b.log", space=backwards), 4)
    assert turned == run(lambda: open_search(log), 4)


def test_running_trials_survive_a_restart(log: Path) -> None:
    asked = [open_search(log).ask() for _ in range(3)]
    assert open_search(log).trials() == asked
    assert {t.state for t in asked} == {TrialState.RUNNING}
    assert len({t.params["criterion.weight"] for t in asked}) == 3


def test_pending_trials_are_accounted_for(log: Path) -> None:
    """After the random start, points asked for together differ: pending ones count as poor."""
    search = open_search(log)
    run(lambda: search, 15)
    together = [search.ask().params["criterion.scale"] for _ in range(4)]
    assert len(set(together)) == 4


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_half_a_line_is_cut_off(log: Path, cut: int) -> None:
    """A trial whose line was torn has not happened: the next ask returns the very same one."""
    run(lambda: open_search(log), 2)
    kept = log.read_bytes()
    lost = open_search(log).ask()
    written = log.read_bytes()
    torn = written[: max(len(kept) + 1, len(written) - cut)]
    log.write_bytes(torn)

    search = open_search(log)
    assert log.read_bytes() == kept
    assert log.with_name("e2mc.log.torn").read_bytes() == torn
    assert search.ask() == lost
    assert len(open_search(log).trials()) == 3


def test_half_a_line_of_a_failed_write_is_cut_off_by_the_next_one(log: Path) -> None:
    """A full disk leaves half a line too, and the process lives on."""
    search = open_search(log)
    trial = search.ask()
    with log.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    search.tell(trial.number, 1.0, TrialState.COMPLETE)
    assert open_search(log).trials() == [Trial(0, START, TrialState.COMPLETE, 1.0)]


@pytest.mark.parametrize(
    "content", [b"", b'{"op_code": 4, "wor', b"garbage\n", b"garbage\nmore\n", b'{"op_code":99}\n']
)
def test_a_damaged_log_is_refused_with_advice(log: Path, content: bytes) -> None:
    log.parent.mkdir()
    log.write_bytes(content)
    with pytest.raises(HomeError, match=r"e2mc\.log is damaged .*\nMove it away and start the study again"):
        open_search(log)


def test_damage_in_the_middle_is_refused(log: Path) -> None:
    run(lambda: open_search(log), 3)
    lines = log.read_bytes().split(b"\n")
    lines[3] = lines[3][:20]
    log.write_bytes(b"\n".join(lines))
    with pytest.raises(HomeError, match="is damaged"):
        open_search(log)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space": {**SPACE, "criterion.scale": FloatRange(0, 3)}},
            'scale: was {"low": 0, "high": 2, "log": false}, is now {"low": 0, "high": 3, "log": false}',
        ),
        (
            {"space": {**SPACE, "lr": FloatRange(0, 3)}, "start": {**START, "lr": 1.0}},
            "space lr: was null, is now",
        ),
        ({"start": {**START, "criterion.scale": 1.5}}, "start criterion.scale: was 1.0, is now 1.5"),
        ({"sampler": "random"}, 'sampler: was "tpe", is now "random"'),
        ({"study": "another"}, "is not the search of arm 'e2mc' of study 'another'"),
        ({"arm": "mmcr"}, "is not the search of arm 'mmcr' of study 'small'"),
    ],
)
def test_another_search_is_refused_with_what_differs(log: Path, changes: dict[str, Any], message: str) -> None:
    open_search(log).ask()
    with pytest.raises(HomeError) as refusal:
        open_search(log, **changes)
    assert message in str(refusal.value)
    assert "away" in str(refusal.value)


def test_locks_of_a_killed_process_do_not_block(log: Path) -> None:
    open_search(log).ask()
    log.with_name("e2mc.log.lock").symlink_to(log)
    log.with_name("e2mc.log.lock1234.rename").touch()
    begin = time.monotonic()
    assert open_search(log).ask().number == 1
    assert time.monotonic() - begin < 5
    assert [p.name for p in log.parent.iterdir()] == ["e2mc.log"]


@pytest.mark.parametrize(
    ("objective", "state"),
    [(0.5, TrialState.COMPLETE), (None, TrialState.INFEASIBLE), (None, TrialState.FAILED)],
)
def test_telling_the_same_again_is_allowed(log: Path, objective: float | None, state: TrialState) -> None:
    open_search(log).ask()
    for _ in range(2):
        open_search(log).tell(0, objective, state)
    assert open_search(log).trials() == [Trial(0, START, state, objective)]


def test_telling_something_else_is_refused(log: Path) -> None:
    search = open_search(log)
    search.ask()
    search.tell(0, 0.5, TrialState.COMPLETE)
    with pytest.raises(StudyError, match=r"told to be complete with objective 0\.5, now complete with 0\.6"):
        search.tell(0, 0.6, TrialState.COMPLETE)
    with pytest.raises(StudyError, match="now failed with None"):
        search.tell(0, None, TrialState.FAILED)


@pytest.mark.parametrize(
    ("objective", "state"),
    [
        (None, TrialState.COMPLETE),
        (math.nan, TrialState.COMPLETE),
        (math.inf, TrialState.COMPLETE),
        (0.5, TrialState.INFEASIBLE),
        (math.nan, TrialState.FAILED),
        (None, TrialState.RUNNING),
    ],
)
def test_state_and_objective_must_fit(log: Path, objective: float | None, state: TrialState) -> None:
    search = open_search(log)
    search.ask()
    with pytest.raises(ValueError, match="trial 0"):
        search.tell(0, objective, state)


def test_an_unknown_trial_cannot_be_told(log: Path) -> None:
    with pytest.raises(StudyError, match="there is no trial 3; 0 exist"):
        open_search(log).tell(3, 1.0, TrialState.COMPLETE)


def test_infeasible_trials_count_and_push_the_sampler_away(log: Path) -> None:
    """Seven tenths of the range diverge: TPE learns it, which it would not from failures."""
    search = open_search(log, **SCALE_ALONE)
    for _ in range(40):
        trial = search.ask()
        if trial.params["criterion.scale"] > 0.6:
            search.tell(trial.number, None, TrialState.INFEASIBLE)
        else:
            search.tell(trial.number, 0.0, TrialState.COMPLETE)
    is_infeasible = [t.state is TrialState.INFEASIBLE for t in search.trials()]
    assert len(is_infeasible) == 40
    assert sum(is_infeasible[20:]) / 20 < 0.5


def test_points_respect_the_bounds_and_the_logarithm(log: Path) -> None:
    search = open_search(log, sampler="random")
    trials = [search.ask() for _ in range(120)]
    for trial in trials:
        assert all(trial.params[name] in SPACE[name] for name in SPACE)
    # 1e-2 halves [1e-4, 1] on the logarithmic scale; on the linear one 1% would lie below it
    assert 0.35 < sum(t.params["criterion.weight"] < 1e-2 for t in trials) / len(trials) < 0.65
    assert 0.35 < sum(t.params["criterion.scale"] < 1 for t in trials) / len(trials) < 0.65


def test_tpe_concentrates_near_the_optimum(log: Path) -> None:
    search = open_search(log, **SCALE_ALONE)
    for _ in range(32):
        trial = search.ask()
        search.tell(trial.number, -((trial.params["criterion.scale"] - 0.5) ** 2), TrialState.COMPLETE)
    distances = [abs(t.params["criterion.scale"] - 0.5) for t in search.trials()]
    assert median(distances[12:]) < 0.67 * median(distances[1:11])
    best = winner(search.trials())
    assert best is not None
    assert best.params["criterion.scale"] == pytest.approx(0.5, abs=0.1)


def test_a_lost_log_is_built_from_the_records(log: Path) -> None:
    search = open_search(log)
    run(lambda: search, 12)
    search.ask()
    search.tell(12, None, TrialState.INFEASIBLE)
    search.ask()
    search.tell(13, None, TrialState.FAILED)
    search.ask()
    records = search.trials()
    following = search.ask()

    log.unlink()
    assert open_search(log, records=records[::-1]).trials() == records
    assert open_search(log, records=records).ask() == following


def test_a_missing_record_is_named(log: Path) -> None:
    records = [Trial(0, START, TrialState.RUNNING), Trial(2, START, TrialState.RUNNING)]
    with pytest.raises(HomeError, match="the record of trial 1 of arm 'e2mc' is missing"):
        open_search(log, records=records)


def test_a_log_that_disagrees_with_the_records_is_refused(log: Path) -> None:
    open_search(log).ask()
    with pytest.raises(HomeError, match="disagrees with the record of trial 1: the log has None"):
        open_search(log, records=[Trial(1, START, TrialState.RUNNING)])
    with pytest.raises(HomeError, match="disagrees with the record of trial 0"):
        open_search(log, records=[Trial(0, {**START, "criterion.scale": 0.0}, TrialState.RUNNING)])


def test_a_trial_of_someone_else_is_refused(log: Path) -> None:
    """A plain Optuna client creates a trial first and its parameters after; this search never does."""
    open_search(log)
    alien = {"op_code": 4, "worker_id": "x", "study_id": 0, "datetime_start": "2026-01-01T00:00:00"}
    with log.open("a") as file:
        file.write(json.dumps(alien) + "\n")
    with pytest.raises(HomeError, match="trial 0 was not written by this search"):
        open_search(log)


@pytest.mark.parametrize(
    "changes",
    [{"start": {"criterion.weight": 0.5}}, {"start": {**START, "criterion.scale": 2.5}}, {"sampler": "grid"}],
)
def test_a_senseless_definition_is_refused(log: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"start|sampler"):
        open_search(log, **changes)


def test_optuna_stays_silent(log: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    run(lambda: open_search(log), 12)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_the_winner_is_the_earliest_of_the_best() -> None:
    complete = [Trial(n, {}, TrialState.COMPLETE, value) for n, value in enumerate([1.0, 3.0, 3.0, 2.0])]
    others = [Trial(9, {}, state) for state in TrialState if state is not TrialState.COMPLETE]
    assert winner([*complete[::-1], *others]) == complete[1]
    assert winner(others) is None
    assert winner([]) is None
