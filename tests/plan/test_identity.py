"""Run identities: stable over time, changed by everything that changes the weights and by nothing else."""

import json

import pytest

from study.plan.expand import base_spec, required_evaluations, run_spec
from study.plan.identity import digest
from study.plan.model import Component, Phase
from tests.fakes.sweep_file import edited, plan_of

# These are promises to everyone who has results on disk: runs are found again by these names. When this test fails,
# every stored run and base becomes unknown and is trained anew. If that is not meant (a reordered dict, a float that
# became an int, a renamed field), mend the change; if it is (a new field that decides the weights), raise
# SCHEMA_VERSION, write the new names here, and say so in the changelog.
BASE_ID = "54b2848173cf"
RUN_ID = "uniformity-b1-c1-143623a85d11"
EVALUATION_KEY = "linear_probe-test-8f6d0d37"


def spec_of(
    *overrides, arm="uniformity", phase=Phase.CONFIRM, base_seed=1, continuation_seed=1, params=None, **changes
):
    plan = plan_of(*overrides, **changes)
    chosen = plan.arm(arm)
    return run_spec(plan, chosen, chosen.start if params is None else params, base_seed, continuation_seed, phase)


def test_golden_names():
    plan = plan_of()
    assert base_spec(plan, 1).run_id == BASE_ID
    assert spec_of().run_id == RUN_ID
    assert required_evaluations(plan, Phase.CONFIRM)[0].key == EVALUATION_KEY


def test_a_name_says_arm_and_seeds_and_ends_with_the_hash():
    spec = spec_of(base_seed=2, continuation_seed=1)
    assert spec.run_id == f"uniformity-b2-c1-{spec.identity[:12]}"
    assert len(spec.identity) == 64


@pytest.mark.parametrize(
    "override",
    [
        "dataset.num_ssl_images=9000",
        "dataset.num_validation_images=4000",
        "dataset.split_seed=1",
        "augmentation={name: small_images, noise_sd: 0.2}",
        "base.method.projection_dim=128",
        "base.backbone=conv_gap",
        "base.epochs=19",
        "base.batch_size=100",
        "base.optimizer.lr=2e-3",
        "base.optimizer.weight_decay=0",
        "base.optimizer.schedule=constant",
        "base.optimizer.warmup_epochs=0",
        "base.optimizer.name=sgd",
        "continuation.epochs=3",
        "continuation.batch_size=100",
        "continuation.optimizer.weight_decay=0",
        "continuation.optimizer.name=sgd",
        "continuation.optimizer.schedule=cosine",
        "continuation.optimizer.warmup_epochs=1",
        "continuation.optimizer.state=keep",
        "continuation.optimizer.exclude_bias_and_norm=true",
        "continuation.optimizer={name: lars, lr: 1.0e-3}",
        "arms.uniformity={criterion: uniformity, kernel_scale: 2, start: {strength: 0.5}}",
        "base.method.predictor_lr=0.1",
        "numerics.micro_batch_size=50",
        "arms.uniformity.kernel_scale=3",
        "numerics.num_threads=2",
        "numerics.dtype=bfloat16",
        "numerics.deterministic=false",
    ],
)
def test_what_decides_the_weights_changes_the_identity(override):
    assert spec_of(override).identity != spec_of().identity


def test_parameters_and_seeds_change_the_identity():
    start = plan_of().arm("uniformity").start
    others = [
        spec_of(base_seed=2),
        spec_of(continuation_seed=2),
        spec_of(params={**start, "criterion.weight": 0.4}),
        spec_of(params={**start, "continuation.optimizer.lr": 2e-3}),
        spec_of(arm="continued"),
    ]
    assert len({spec.identity for spec in [spec_of(), *others]}) == 6


@pytest.mark.parametrize(
    "override",
    [
        "study=another",
        "question=Another?",
        "reference=base",
        "contrasts=[[uniformity, base]]",
        "primary=knn/top1",
        "equivalence_margin_pp=1",
        "evaluations={linear_probe: {label_percent: [1, 100]}, knn: {num_neighbours: 5}}",
        "tune.objective=knn/top1",
        "tune.trials_per_arm=9",
        "tune.base_seeds=[102]",
        "tune.sampler=random",
        "confirm.base_seeds=[1, 2]",
        "arms.e2mc.map=sigmoid",
        "ablate.weights=inherited",
    ],
)
def test_labels_evaluations_and_other_arms_do_not(override):
    spec, other = spec_of(), spec_of(override)
    assert other.identity == spec.identity
    assert other.run_id == spec.run_id


def test_the_phase_is_a_label():
    assert spec_of(phase=Phase.TUNE).run_id == spec_of(phase=Phase.CONFIRM).run_id


def test_two_arms_that_train_the_same_have_the_same_identity():
    text = {"arms__twin": {"criterion": "uniformity", "kernel_scale": 2.0, "start": {"weight": 0.5}}}
    twin, spec = spec_of(arm="twin", **text), spec_of(**text)
    assert twin.identity == spec.identity
    assert twin.run_id != spec.run_id


def test_studies_share_their_bases():
    overrides = ("study=another", "continuation.epochs=9", "evaluations={knn: {}}", "primary=knn/top1")
    other = plan_of(*overrides, "tune.objective=knn/top1")
    assert base_spec(other, 1) == base_spec(plan_of(), 1)
    assert base_spec(other, 1) != base_spec(other, 2)


def test_the_order_of_keys_in_a_file_does_not_matter():
    change = {"dataset": {"num_validation_images": 5000, "num_ssl_images": 10000, "name": "fashion_mnist"}}
    assert edited(**change) != edited()
    assert spec_of(**change).run_id == spec_of().run_id


def test_an_identity_survives_json():
    spec = spec_of()
    assert digest({"schema_version": 1, "training": json.loads(json.dumps(spec.training))}) == spec.identity


def test_a_digest_is_over_canonical_json_and_refuses_nan():
    assert digest({"a": 1, "b": [1.5]}) == digest({"b": [1.5], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def test_an_evaluation_is_known_by_its_fields_and_split():
    plan = plan_of()
    tune, confirm = required_evaluations(plan, Phase.TUNE)[0], required_evaluations(plan, Phase.CONFIRM)[0]
    assert tune.evaluation == confirm.evaluation == plan.evaluations[0]
    assert tune.key != confirm.key
    other = plan_of("evaluations.linear_probe.label_percent=[1, 100]")
    assert required_evaluations(other, Phase.CONFIRM)[0].key != confirm.key
    assert isinstance(confirm.evaluation, Component)
