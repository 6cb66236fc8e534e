"""Acting twice does no harm, and what does not belong together is refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from study.errors import HomeError
from study.journal.files import create_once, read_json, write_json
from study.journal.process import this_process
from study.journal.replay import AttemptStatus, replay_attempt, replay_run
from study.orchestration import actions
from study.orchestration.aside import REPLACED, occasions
from study.paths import AttemptPaths, HomePaths
from study.plan.model import Confirm, Plan, PlannedEvaluation
from study.search.trial import Trial, TrialState
from tests.fakes.study_home import make_plan
from tests.fakes.tiny_study import Nowhere, data_folder, pretraining, submit


class TestPlan:
    def store(self, home: HomePaths, plan: Plan, text: str = "text", *, trained: bool = True) -> None:
        home.study("toy").root.mkdir(exist_ok=True)
        if trained:
            run = home.study("toy").run("continued-b1-c1-0123456789ab")
            run.root.mkdir(parents=True, exist_ok=True)
            for file in (run.spec, run.trained):
                write_json(file, {"labels": {"phase": "confirm"}})
        actions.store_plan(home.study("toy"), plan, text)

    def test_it_reads_back_and_may_be_stored_again(self, home: HomePaths) -> None:
        for text in ("first", "second"):
            self.store(home, make_plan(), text)
            stored = Plan.from_json(read_json(home.study("toy").plan))
            assert json.dumps(stored.as_json()) == json.dumps(make_plan().as_json())
            assert home.study("toy").plan_yaml.read_text() == text

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_it_may_gain_an_evaluation(self, home: HomePaths, place: int) -> None:
        plan = make_plan()
        self.store(home, plan)
        more = list(plan.evaluations)
        more.insert(place, PlannedEvaluation("alignment", {"power": 2}))
        self.store(home, make_plan(evaluations=tuple(more)))
        stored = Plan.from_json(read_json(home.study("toy").plan))
        assert [e.name for e in stored.evaluations] == [e.name for e in more]

    @pytest.mark.parametrize(
        ("changes", "lines"),
        [
            ({"evaluations": make_plan().evaluations[:1]}, ["-evaluations[knn].name", "-evaluations[knn].params"]),
            ({"equivalence_margin_pp": 0.25}, ["-equivalence_margin_pp = 0.5", "+equivalence_margin_pp = 0.25"]),
            (
                {"continuation": replace(make_plan().continuation, epochs=3)},
                ["-continuation.epochs = 2", "+continuation.epochs = 3"],
            ),
            ({"arms": make_plan().arms[:-1]}, ['-arms[mmcr].name = "mmcr"']),
        ],
    )
    def test_anything_else_is_refused_with_the_difference(
        self, home: HomePaths, changes: Mapping[str, Any], lines: list[str]
    ) -> None:
        self.store(home, make_plan(), "old")
        with pytest.raises(HomeError, match="belongs to another plan") as caught:
            self.store(home, make_plan(**changes), "new")
        for line in lines:
            assert line in str(caught.value)
        assert "study=toy-2" in str(caught.value)
        assert home.study("toy").plan_yaml.read_text() == "old"

    def test_one_of_which_nothing_has_been_trained_is_replaced_by_its_correction(self, home: HomePaths) -> None:
        self.store(home, make_plan(), "wrong", trained=False)
        study = home.study("toy")
        submit(
            home, replace(pretraining(1), run_id="continued-b1-c1-0123456789ab", labels={"phase": "tune"}), Nowhere()
        )
        actions.write_trial(study, "mmcr", Trial(0, {}, TrialState.RUNNING), [])
        corrected = make_plan(equivalence_margin_pp=0.25)
        note = actions.store_plan(study, corrected, "right")
        assert note is not None and "of which nothing had been trained, is replaced" in note
        assert Plan.from_json(read_json(study.plan)).equivalence_margin_pp == 0.25
        assert study.plan_yaml.read_text() == "right"
        assert (study.aside / "0001" / "toy" / "plan.yaml").read_text() == "wrong", "nothing is lost"
        assert not study.trials("mmcr") and (study.aside / "0001/toy/search/mmcr/0000.json").exists()
        (record,) = occasions(study)
        assert record.kind == REPLACED and "-equivalence_margin_pp = 0.5" in record.what
        assert actions.store_plan(study, corrected, "right") is None

    @pytest.mark.parametrize("what", ["trained", "checkpoint"])
    def test_one_of_which_something_has_been_trained_is_not_replaced(self, home: HomePaths, what: str) -> None:
        self.store(home, make_plan(), "old", trained=False)
        run = home.study("toy").run("continued-b1-c1-0123456789ab")
        run.attempt(1).root.mkdir(parents=True)
        write_json(run.spec, {})
        (run.trained if what == "trained" else run.attempt(1).checkpoint).touch()
        with pytest.raises(HomeError, match="belongs to another plan"):
            actions.store_plan(home.study("toy"), make_plan(equivalence_margin_pp=0.25), "new")

    def test_confirming_seeds_may_be_added_and_it_is_recorded_once(self, home: HomePaths) -> None:
        self.store(home, make_plan(), "old")
        more = make_plan(
            confirm=Confirm((*make_plan().confirm.base_seeds, 7, 8), make_plan().confirm.continuation_seeds)
        )
        study = home.study("toy")
        note = actions.store_plan(study, more, "new")
        assert note is not None and "base seeds 7, 8 added before any confirming run was evaluated" in note
        assert actions.store_plan(study, more, "new") is None, "nothing is added any more"
        stored = Plan.from_json(read_json(study.plan))
        (record,) = stored.amendments
        assert record.before == make_plan().confirm and stored.confirm == more.confirm
        assert record.num_seen == 0 and stored.before_the_first_look() is None

    @pytest.mark.parametrize("seeds", [(1, 2, 3, 4), (2, 1, 3, 4, 5), (9, 1, 2, 3, 4, 5)])
    def test_seeds_are_not_taken_away_nor_put_before(self, home: HomePaths, seeds: tuple[int, ...]) -> None:
        self.store(home, make_plan())
        with pytest.raises(HomeError, match=r"confirm\.base_seeds"):
            self.store(home, make_plan(confirm=Confirm(seeds, make_plan().confirm.continuation_seeds)))

    def test_a_plan_of_before_a_key_existed_is_the_same_plan(self, home: HomePaths) -> None:
        self.store(home, make_plan())
        old = read_json(home.study("toy").plan)
        del old["test"], old["amendments"]
        write_json(home.study("toy").plan, old)
        self.store(home, make_plan())


@pytest.fixture
def living() -> Iterator[Mapping[str, Any]]:
    """Identity of a process that lives and is not this one."""
    code = """
import json
from study.journal.process import this_process
print(json.dumps(this_process()), flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.kill()


class TestOrphans:
    def attempt(self, home: HomePaths, orchestrator: Mapping[str, Any] | None) -> AttemptPaths:
        attempt = submit(home, pretraining(1), Nowhere())
        if orchestrator is None:
            attempt.job.unlink()  # killed between creating the folder and writing the intent
        else:
            write_json(attempt.job, {**read_json(attempt.job), "orchestrator": orchestrator})
        return attempt

    @pytest.mark.parametrize("orchestrator", [None, {**this_process(), "pid": 2**22 + 1}], ids=["no job", "dead"])
    def test_what_a_dead_orchestrator_intended_never_starts(self, home: HomePaths, orchestrator: Any) -> None:
        attempt = self.attempt(home, orchestrator)
        for _ in range(2):
            actions.revoke_orphans(Nowhere(), attempt.run, replay_run(attempt.run))
            assert replay_attempt(attempt).status is AttemptStatus.REVOKED
        assert not create_once(attempt.claim, this_process()), "a worker that comes late leaves at once"

    def test_what_a_living_one_intended_is_left_to_it(self, home: HomePaths, living: Mapping[str, Any]) -> None:
        attempt = self.attempt(home, living)
        actions.revoke_orphans(Nowhere(), attempt.run, replay_run(attempt.run))
        assert replay_attempt(attempt).status is AttemptStatus.INTENDED

    def test_what_a_worker_has_claimed_is_left_to_it(self, home: HomePaths) -> None:
        attempt = self.attempt(home, None)
        create_once(attempt.claim, {"pid": 1})
        actions.revoke_orphans(Nowhere(), attempt.run, replay_run(attempt.run))
        assert read_json(attempt.claim) == {"pid": 1}

    def test_runs_that_nobody_has_begun_stay_so(self, home: HomePaths) -> None:
        assert not actions.revoke_orphans(Nowhere(), home.base("none"), replay_run(home.base("none")))
        assert not home.bases.exists()


class TestSubmit:
    def test_a_base_that_another_study_has_started_since_it_was_looked_at(self, home: HomePaths) -> None:
        first = submit(home, pretraining(1), Nowhere())
        again = {"study": "two", "data_folder": data_folder(), "checkpoint_every_s": 1.0}
        actions.submit(home, first.run, pretraining(1), (), Nowhere(), num_seen=0, **again)
        assert len(first.run.existing_attempts()) == 1
        actions.submit(home, first.run, pretraining(1), (), Nowhere(), num_seen=1, **again)
        assert len(first.run.existing_attempts()) == 2, "its own next attempt"

    def test_intent_and_acknowledgement(self, home: HomePaths) -> None:
        seen = {}

        class Watching(Nowhere):
            def submit(self, attempt: AttemptPaths) -> Mapping[str, Any]:
                seen.update(read_json(attempt.job))
                return {"pid": 7}

        attempt = submit(home, pretraining(1), Watching())
        assert seen["job"] is None and seen["orchestrator"] == this_process(), "the intent is there before the process"
        assert read_json(attempt.job) == {**seen, "job": {"pid": 7}}
        assert read_json(attempt.run.spec)["training"] == json.loads(json.dumps(pretraining(1).training))

    def test_attempts_are_numbered_and_a_stop_file_is_removed(self, home: HomePaths) -> None:
        first = submit(home, pretraining(1), Nowhere())
        first.run.stop.touch()
        second = submit(home, pretraining(1), Nowhere())
        assert (first.number, second.number) == (1, 2) and not first.run.stop.exists()

    def test_a_folder_of_another_training_is_refused_with_the_difference(self, home: HomePaths) -> None:
        attempt = submit(home, pretraining(1), Nowhere())
        spec = pretraining(1)
        changed = replace(spec, training={**spec.training, "batch_size": 25})
        with pytest.raises(HomeError) as caught:
            submit(home, changed, Nowhere())
        assert "-training.batch_size = 50" in str(caught.value) and "+training.batch_size = 25" in str(caught.value)
        assert len(attempt.run.existing_attempts()) == 1

    def test_labels_may_differ(self, home: HomePaths) -> None:
        submit(home, pretraining(1), Nowhere())
        submit(home, replace(pretraining(1), labels={"phase": "prepare", "base_seed": 7}), Nowhere())


class TestTrials:
    def test_records_read_back_in_order(self, home: HomePaths) -> None:
        trials = [
            Trial(0, {"criterion.weight": 0.5}, TrialState.COMPLETE, 61.0),
            Trial(1, {"criterion.weight": 0.1}, TrialState.INFEASIBLE),
            Trial(2, {"criterion.weight": 0.2}, TrialState.RUNNING),
        ]
        study = home.study("toy")
        for trial in reversed(trials):
            actions.write_trial(study, "mmcr", trial, ["a", "b"])
        assert actions.read_trials(study, "mmcr") == trials
        assert actions.read_trials(study, "e2mc") == []
        assert read_json(study.trial("mmcr", 0))["run_ids"] == ["a", "b"]

    def test_an_unchanged_record_is_not_written_again(self, home: HomePaths) -> None:
        study, trial = home.study("toy"), Trial(0, {}, TrialState.RUNNING)
        actions.write_trial(study, "mmcr", trial, [])
        before = study.trial("mmcr", 0).stat()
        actions.write_trial(study, "mmcr", trial, [])
        assert study.trial("mmcr", 0).stat().st_ino == before.st_ino
