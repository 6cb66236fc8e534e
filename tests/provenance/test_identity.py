"""The code of a result is what its run can execute: every file in turn touches just the results that it should."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from study import registry
from study.plan.expand import base_spec, run_spec
from study.plan.model import Component, Phase, PlannedEvaluation
from study.provenance import identity
from study.provenance.identity import CodeIdentity, evaluation_code, executed_files, training_code
from study.provenance.imports import source
from tests.fakes.tiny_study import tiny_plan

_ARMS = (
    "{base: {continue: false}, continued: {criterion: none}, uniformity: {criterion: uniformity},"
    " e2mc: {criterion: e2mc}, mmcr: {criterion: mmcr}}"
)
PLAN = tiny_plan(f"arms={_ARMS}")
STUDY = Path(registry.__file__).parents[1]


def kinds() -> dict[str, CodeIdentity]:
    """What makes the results of a study, by a name for each kind of results."""
    found = {"bases": training_code(base_spec(PLAN, 1).training)}
    for arm in PLAN.arms:
        found[arm.name] = training_code(run_spec(PLAN, arm, arm.start, 1, 1, Phase.CONFIRM).training)
    continued = PLAN.arm("continued")
    training = run_spec(PLAN, continued, {}, 1, 1, Phase.CONFIRM).training
    own_data = PlannedEvaluation("elsewhere", evaluation="knn", dataset=Component("cifar10"))
    for planned in (*PLAN.evaluations, own_data, PlannedEvaluation("fine_tuning")):
        found[planned.name] = evaluation_code(planned, training)
    return found


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Edits a file: its text has another hash from then on."""

    def edited(path: str) -> None:
        def changed(asked: str):
            found = source(asked)
            return dataclasses.replace(found, sha256="edited") if asked == path else found

        monkeypatch.setattr(identity, "source", changed)
        identity._identity.cache_clear()

    yield edited
    monkeypatch.undo()
    identity._identity.cache_clear()


ARMS = {"continued", "uniformity", "e2mc", "mmcr"}
TRAININGS = {"bases", "base", *ARMS}
EVALUATIONS = {"linear_probe", "knn", "elsewhere", "fine_tuning"}
EVERYTHING = TRAININGS | EVALUATIONS
# The shared core is in all of them: evaluations build the network as trainings do.
TOUCHED: Mapping[str, set[str]] = {
    "criteria/e2mc.py": {"e2mc"},
    "criteria/mmcr.py": {"mmcr"},
    "criteria/uniformity.py": {"uniformity"},
    "criteria/none.py": {"bases", "base", "continued"},
    "criteria/_terms.py": {"e2mc", "mmcr", "uniformity"},
    "criteria/koleo.py": set(),
    "criteria/base.py": EVERYTHING,
    "methods/simsiam.py": EVERYTHING,
    "methods/byol.py": set(),
    "backbones/conv_fc.py": EVERYTHING,
    "backbones/conv_gap.py": set(),
    "backbones/_convolutions.py": EVERYTHING,
    "augmentations/small_images.py": TRAININGS - {"base"},
    "augmentations/photographs.py": {"fine_tuning"},  # whose views it makes
    "datasets/fashion_mnist.py": EVERYTHING - {"elsewhere"},
    "datasets/_idx.py": EVERYTHING - {"elsewhere"},
    "datasets/cifar10.py": {"elsewhere"},
    "datasets/_cifar.py": {"elsewhere"},
    "datasets/imagenet.py": set(),
    "evaluations/knn.py": {"knn", "elsewhere"},
    "evaluations/linear_probe.py": {"linear_probe"},
    "evaluations/_labels.py": {"linear_probe", "fine_tuning"},
    "evaluations/fine_tuning.py": {"fine_tuning"},
    "evaluations/base.py": EVALUATIONS,
    "evaluations/embedding_statistics.py": set(),
    "tensors/spacings.py": EVERYTHING,  # the diagnostics of every step
    "tensors/streams.py": EVERYTHING,
    "tensors/sinkhorn.py": set(),
    "training/loop.py": EVERYTHING,
    "training/representations.py": EVALUATIONS,
    "training/trainable.py": {"fine_tuning"},
    "worker/train.py": TRAININGS,
    "worker/evaluate.py": EVALUATIONS,
    "worker/tasks.py": EVALUATIONS,
    "worker/imported.py": set(),
    "worker/allocation.py": set(),
    "pretrained/swav.py": set(),
    "pretrained/_load.py": set(),
    "plan/schema.py": set(),
    "journal/events.py": set(),
    "orchestration/decide.py": set(),
    "cli/sweep.py": set(),
    "errors.py": set(),
}


@pytest.mark.parametrize("path", sorted(TOUCHED))
def test_an_edit_touches_what_can_execute_it_and_nothing_else(edit, path: str) -> None:
    before = kinds()
    edit(path)
    now = kinds()
    assert {kind for kind in before if before[kind].hash != now[kind].hash} == TOUCHED[path]


def test_every_file_is_in_the_identities_that_its_edit_changes() -> None:
    """No file of the project is left out of the test above by chance: all others are found by following imports."""
    everywhere = {path.relative_to(STUDY).as_posix() for path in STUDY.rglob("*.py") if "__pycache__" not in path.parts}
    assert set(TOUCHED) <= everywhere, "the table names files that there are"
    for name, found in kinds().items():
        assert set(found.files) <= everywhere
        strange = {path for path in found.files if path.startswith(("plan/", "journal/", "cli/", "orchestration/"))}
        assert not strange, f"{name} is made by {strange}"


@pytest.mark.parametrize(("family", "key"), [(f, k) for k, f in identity.FAMILIES.items()])
def test_every_component_is_in_the_identity_of_its_runs(family: str, key: str) -> None:
    training = dict(base_spec(PLAN, 1).training)
    for name in registry.names(family):
        found = training_code({**training, key: {"name": name, "params": {}}})
        assert f"{family}/{name}.py" in found.files
        others = {f"{family}/{other}.py" for other in registry.names(family)} - {f"{family}/{name}.py"}
        assert not others & set(found.files) - set(source(f"{family}/{name}.py").project)


@pytest.mark.parametrize("family", registry.names("pretrained"))
def test_an_imported_base_is_made_by_its_family(family: str) -> None:
    training = {**base_spec(PLAN, 1).training, "imported": {"family": family}}
    found = training_code(training).files
    assert {f"pretrained/{family}.py", "pretrained/_load.py", "worker/imported.py"} <= set(found)


def test_libraries_are_those_that_always_count_and_those_that_components_import() -> None:
    found = training_code(base_spec(PLAN, 1).training).libraries
    assert set(found) == {"torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn"}
    assert found["torch"] == __import__("torch").__version__.split("+")[0]


def test_a_module_without_a_distribution_counts_by_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "no_distribution.py").write_text("x = 1\n")
    first = identity._version("no_distribution")
    assert first.startswith("sha256 ")
    (tmp_path / "no_distribution.py").write_text("x = 2\n")
    identity._version.cache_clear()
    assert identity._version("no_distribution") != first
    assert identity._version("that_is_nowhere") == "not installed"
    sys.modules.pop("no_distribution", None)


def test_what_is_imported_late_counts() -> None:
    assert "evaluations/_labels.py" in executed_files(["evaluations/linear_probe.py"])
    assert "datasets/_decoding.py" in executed_files(["datasets/image_folder.py"])


def test_no_component_is_loaded_to_say_what_it_can_execute() -> None:
    """Orchestrators ask at every submission, for days, and are small because none of them holds torch."""
    arm = PLAN.arm("e2mc")
    training = run_spec(PLAN, arm, arm.start, 1, 1, Phase.CONFIRM).training
    evaluations = [planned.as_json() for planned in (*PLAN.evaluations, PlannedEvaluation("fine_tuning"))]
    program = (
        "import json, sys\nfrom study.plan.model import PlannedEvaluation\n"
        "from study.provenance.identity import evaluation_code, training_code\n"
        "training, evaluations = json.loads(sys.argv[1])\nfound = [training_code(training).hash]\n"
        "found += [evaluation_code(PlannedEvaluation.from_json(e), training).hash for e in evaluations]\n"
        "print(json.dumps([found, 'torch' in sys.modules]))"
    )
    command = [sys.executable, "-c", program, json.dumps([training, evaluations])]
    done = subprocess.run(command, cwd=STUDY.parent, capture_output=True, text=True, check=True)
    here = [evaluation_code(PlannedEvaluation.from_json(e), training).hash for e in evaluations]
    assert json.loads(done.stdout) == [[training_code(training).hash, *here], False]
