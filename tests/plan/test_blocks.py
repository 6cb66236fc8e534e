"""One sweep file, several studies."""

import pytest

from study.plan.load import load_plans
from tests.fakes.sweep_file import edited, problems_of

BLOCKS = {
    "base.method.projection_dim": [64, 128],
    "base.backbone": ["conv_fc", {"name": "conv_gap", "widths": [8, 16]}],
}


def plans_of(*overrides, **changes):
    return load_plans(edited(**changes), "example.yaml", overrides)


def test_a_file_without_blocks_is_one_study():
    assert [plan.study for plan in plans_of()] == ["example"]


def test_every_combination_is_a_study_with_a_name_of_its_own():
    plans = plans_of(blocks=BLOCKS)
    assert [plan.study for plan in plans] == [
        "example-64-conv_fc", "example-64-conv_gap", "example-128-conv_fc", "example-128-conv_gap"
    ]  # fmt: skip
    assert [plan.method.params["projection_dim"] for plan in plans] == [64, 64, 128, 128]
    assert plans[1].backbone.params == {"widths": [8, 16]}


def test_overrides_reach_all_blocks_and_the_blocks_themselves():
    plans = plans_of("base.epochs=3", "study=other", "blocks={base.backbone: [conv_gap]}", blocks=BLOCKS)
    assert [(plan.study, plan.pretraining.epochs, plan.backbone.name) for plan in plans] == [
        ("other-conv_gap", 3, "conv_gap")
    ]


@pytest.mark.parametrize(
    ("blocks", "path", "message"),
    [
        (None, "blocks", "must map keys of this file to lists of values"),
        ({}, "blocks", "must map keys"),
        (["base.method"], "blocks", "must map keys"),
        ([{"base.epochs": 1}, {"base.epochs": 1}], "blocks", "two blocks would be the same study example-1"),
        ([{"study": "a"}], "blocks.study", "cannot differ between blocks"),
        ({"base.method": "simsiam"}, "blocks.base.method", "must be a list of values, but got 'simsiam'"),
        ({"base.method": []}, "blocks.base.method", "must be a list of values, but got []"),
        ({"base.method": ["simsiam", {"name": "simsiam"}]}, "blocks.base.method", "would name the same study"),
        ({"study": ["a", "b"]}, "blocks.study", "cannot differ between blocks"),
        ({"base.methid": ["simsiam"]}, "override base.methid", "no key 'methid' in base. Did you mean 'method'?"),
        ({"base.method": ["simsiam", "vicrge"]}, "base.method", "no 'vicrge' in study/methods/."),
    ],
)
def test_wrong_blocks(blocks, path, message):
    assert message in problems_of(edited(blocks=blocks))[path]


def test_problems_of_all_blocks_are_reported_at_once_and_common_ones_once():
    problems = problems_of(edited(blocks={"base.epochs": [0, -1, 2]}, primary="accuracy"))
    assert set(problems) == {"base.epochs", "primary"}
    assert "but got 0" in problems["base.epochs"] and "but got -1" in problems["base.epochs"]


def test_one_at_a_time_changes_one_key_of_the_file_as_it_stands():
    values = {"base.epochs": [20, 40], "continuation.batch_size": [125, 500]}
    plans = plans_of(blocks=values, design="one_at_a_time")
    assert [plan.study for plan in plans] == [
        "example-as-given", "example-epochs-40", "example-batch_size-125", "example-batch_size-500"
    ]  # fmt: skip
    assert [(plan.pretraining.epochs, plan.continuation.batch_size) for plan in plans] == [
        (20, 250), (40, 250), (20, 125), (20, 500)
    ]  # fmt: skip


def test_combinations_may_be_listed_one_by_one():
    plans = plans_of(blocks=[{"base.epochs": 1, "continuation.epochs": 3}, {"base.epochs": 2}])
    assert [(p.study, p.pretraining.epochs, p.continuation.epochs) for p in plans] == [
        ("example-1-3", 1, 3), ("example-2", 2, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design": "full"}, "there are no blocks"),
        ({"design": "fractional", "blocks": BLOCKS}, "must be 'full' or 'one_at_a_time'"),
        ({"design": "full", "blocks": [{"base.epochs": 1}]}, "are not combined"),
    ],
)
def test_wrong_designs(changes, message):
    assert message in problems_of(edited(**changes))["design"]
