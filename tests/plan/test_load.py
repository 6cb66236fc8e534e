import math

import pytest

from study.errors import PlanError
from study.plan.load import load_plan
from study.plan.model import Phase
from tests.fakes.sweep_file import DELETED, TEXT, edited, plan_of, problems_of

SECTIONS = {
    "study": "must be text",
    "question": "must be text",
    "dataset": "must be a name, or a mapping with a name",
    "augmentation": "must be a name, or a mapping with a name",
    "base": "must be a mapping of keys to values",
    "continuation": "must be a mapping of keys to values",
    "arms": "must be a mapping of keys to values",
    "ablate": "must be a mapping of keys to values",
    "reference": "must be text",
    "unit": "must be 'base' or 'continuation'",
    "contrasts": "must be a list",
    "evaluations": "must be a mapping of keys to values",
    "primary": "must be text",
    "equivalence_margin_pp": "must be a number",
    "tune": "must be a mapping of keys to values",
    "confirm": "must be a mapping of keys to values",
    "numerics": "must be a mapping of keys to values",
}
OPTIONAL = ("question", "augmentation", "ablate", "unit", "contrasts", "equivalence_margin_pp", "numerics")


def test_a_good_file_becomes_a_plan():
    plan = load_plan(TEXT, "example.yaml")
    assert [arm.name for arm in plan.arms] == [
        "base", "continued", "e2mc", "e2mc-no-entropy", "e2mc-no-covariance", "uniformity"
    ]  # fmt: skip
    assert plan.pretraining.optimizer["schedule"] == "cosine"
    assert plan.continuation.optimizer == {
        "name": "adamw", "lr": 1e-3, "weight_decay": 1e-4, "exclude_bias_and_norm": False, "schedule": "constant",
        "warmup_epochs": 0, "state": "reset",
    }  # fmt: skip
    assert plan.numerics == {"num_threads": 1, "dtype": "float32", "deterministic": True, "micro_batch_size": None}
    assert plan.tune.continuation_seeds == plan.confirm.continuation_seeds == (1,)
    assert plan.dataset.params["split_seed"] == 12345
    assert plan.contrasts[2] == ("e2mc", "e2mc-no-entropy")


def test_all_problems_of_a_file_are_reported_at_once():
    """Typing mistakes, wrong types, unknown names and contradictions do not hide one another."""
    text = (
        TEXT.replace("study: example", "studdy: example")
        .replace("num_ssl_images", "num_ssl_image")
        .replace("method: simsiam", "method: simsima")
        .replace("epochs: 20", "epochs: x, batchsize: 5")
        .replace("lr: 1.0e-3", "lr: -1")
        .replace("criterion: uniformity", "criterion: uniformty")
        .replace("drop: [entropy,", "drop: [entrpy,")
        .replace("- [e2mc, base]", "- [e2mc, bas]")
        .replace("knn: {}", "knnn: {}")
        .replace("trials_per_arm: 4", "trials_per_arm: 0")
        .replace("base_seeds: [101]", "base_seeds: [2]")
        .replace("reference: continued", "reference: contineud")
    )
    problems = problems_of(text)
    assert set(problems) == {
        "study", "studdy", "dataset.num_ssl_image", "base.method", "base.epochs", "base.batchsize",
        "continuation.optimizer.lr", "arms.uniformity.criterion", "ablate.drop[0]", "contrasts[1]",
        "evaluations.knnn", "tune.trials_per_arm", "confirm.base_seeds", "reference",
    }  # fmt: skip
    for path, near in {
        "studdy": "study", "dataset.num_ssl_image": "num_ssl_images", "base.method": "simsiam",
        "base.batchsize": "batch_size", "arms.uniformity.criterion": "uniformity", "ablate.drop[0]": "entropy",
        "contrasts[1]": "base", "evaluations.knnn": "knn", "reference": "continued",
    }.items():  # fmt: skip
        assert f"Did you mean {near!r}?" in problems[path]
    assert problems["study"] == "is missing; is 'studdy' meant?"


@pytest.mark.parametrize(("section", "message"), SECTIONS.items())
@pytest.mark.parametrize("value", [True, [], [[1]], {"x": {"y": 1}}, None], ids=str)
def test_every_section_may_be_of_any_wrong_type(section, message, value):
    if (section, value) in (("contrasts", []), ("ablate", []), ("equivalence_margin_pp", None)):
        return  # these mean something
    problems = problems_of(edited(**{section: value}))
    assert any(path.split(".")[0].split("[")[0] == section for path in problems)
    if value is True:
        assert problems[section].startswith(f"{message}, but got True")
    if value is None:
        assert problems[section] == f"{message}, but nothing stands there"


@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in OPTIONAL])
def test_a_section_that_is_missing_is_named(section):
    problems = problems_of(edited(**{section: DELETED}))
    assert problems[section] == "is missing; see sweeps/ablation.yaml for an example"


def test_optional_sections_may_be_missing():
    text = edited(**{name: DELETED for name in OPTIONAL if name in TEXT})
    assert len(load_plan(text, "example.yaml").arms) == 4


@pytest.mark.parametrize(
    ("place", "near"),
    [
        ("contrast", "contrasts"),
        ("base__epoch", "epochs"),
        ("continuation__optimizer__shedule", "schedule"),
        ("tune__trials", "trials_per_arm"),
        ("confirm__seeds", "base_seeds"),
        ("dataset__num_images", "num_ssl_images"),
        ("ablate__weight", "weights"),
        ("arms__e2mc__strat", "start"),
        ("arms__e2mc__epsilonn", "epsilon"),
        ("arms__e2mc__start__entropy_wait", "entropy_weight"),
        ("evaluations__knn__num_neighbors", "num_neighbours"),
    ],
)
def test_unknown_keys_at_every_level(place, near):
    message = problems_of(edited(**{place: 1}))[place.replace("__", ".")]
    assert f"{place.rpartition('__')[2]!r}" in message
    assert f"Did you mean {near!r}? Known: " in message


def test_unknown_keys_inside_what_is_absent_from_the_file():
    problems = problems_of(edited(base__optimizer={"learn": 1}, numerics={"threads": 2}, arms__e2mc__space={"map": {}}))
    assert {"base.optimizer.learn", "numerics.threads", "arms.e2mc.space.map.low"} <= set(problems)
    assert "Did you mean 'num_threads'?" in problems["numerics.threads"]


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"study": 5}, "study", "must be text, but got 5; write a name, e.g. my-study"),
        ({"study": "../elsewhere"}, "study", "may hold letters"),
        ({"study": "größe"}, "study", "may hold letters"),
        ({"study": "x" * 300}, "study", "at most 80 characters, but got 'xxx"),
        (
            {"study": "bases"},
            "study",
            "is a folder of the study home itself; write e.g. study-bases",
        ),
        ({"study": "Bases"}, "study", "but for upper and lower case, a folder of the study home itself"),
        ({"study": "default"}, "study", "'default' is MLflow's own experiment"),
        ({"study": "Default"}, "study", "MLflow's own experiment, whose artifacts lie outside of the study home"),
        ({"base__epochs": True}, "base.epochs", "must be a whole number, but got True"),
        ({"base__epochs": 0}, "base.epochs", "must be at least 1, but got 0"),
        ({"base__epochs": 2.5}, "base.epochs", "must be a whole number, but got 2.5"),
        ({"base__epochs": None}, "base.epochs", "must be a whole number, but nothing stands there"),
        ({"base__batch_size": 20_000}, "base.batch_size", "more than the 10000 SSL images"),
        (
            {"arms__e2mc": {"criterion": "e2mc", "spacing": 250, "start": {"entropy_weight": 1.0}}},
            "arms.e2mc",
            "below the batch's 250 rows",
        ),
        ({"dataset__num_ssl_images": 900}, "evaluations.linear_probe", "1 % of a pool of 900 images is 9 labels"),
        ({"evaluations__knn": {"num_neighbours": 10_001}}, "evaluations.knn", "at most the pool's size, got 10001"),
        (
            {"base__optimizer": {"exclude_bias_and_norm": True}, "continuation__optimizer__state": "keep"},
            "continuation.optimizer.state",
            "exclude_bias_and_norm False cannot keep the state of the base's True",
        ),
        ({"base__optimizer": {"momentum": 0.9}}, "base.optimizer.momentum", "adamw has no momentum"),
        ({"base__optimizer": {"warmup_epochs": 21}}, "base.optimizer.warmup_epochs", "more than the 20 epochs"),
        ({"continuation__optimizer__lr": math.nan}, "continuation.optimizer.lr", "must be finite, but got nan"),
        ({"continuation__optimizer__lr": math.inf}, "continuation.optimizer.lr", "must be finite, but got inf"),
        ({"continuation__optimizer__lr": 1.0}, "continuation.optimizer.lr", "outside of its range [0.0003, 0.003]"),
        (
            {"continuation__optimizer__name": "adam"},
            "continuation.optimizer.name",
            "must be 'adamw', 'sgd', 'lars' or 'larc'",
        ),
        (
            {"base__optimizer": {"name": "sgd", "trust_coefficient": 0.1}},
            "base.optimizer.trust_coefficient",
            "sgd has no trust_coefficient; leave it out",
        ),
        (
            {"numerics": {"micro_batch_size": 100}},
            "numerics.micro_batch_size",
            "100 does not divide base.batch_size 250",
        ),
        (
            {"augmentation": {"name": "small_images", "num_local_views": 2}},
            "augmentation.num_local_views",
            "base.method simsiam compares two full-size views alone; write 0, or use ",
        ),
        (
            {"augmentation": {"name": "small_images", "num_local_views": 2}},
            "augmentation.num_local_views",
            "base.backbone conv_fc takes images of one size alone; write 0, or use conv_gap",
        ),
        ({"dataset__num_ssl_images": 0}, "dataset", "num_ssl_images must be >= 1"),
        ({"dataset": "imagenet21k"}, "dataset", "no 'imagenet21k' in study/datasets/"),
        ({"contrasts": [["e2mc"]]}, "contrasts[0]", "must hold at least 2"),
        ({"contrasts": [["e2mc", "e2mc"]]}, "contrasts[0]", "compared with itself"),
        ({"contrasts": [["e2mc", "base"], ["base", "e2mc"]]}, "contrasts[1]", "declared twice"),
        ({"contrasts": [["e2mc", "nobody"]]}, "contrasts[0]", "no arm 'nobody'"),
        ({"primary": "linear_probe/top1"}, "primary", "Did you mean 'linear_probe/top1_"),
        ({"tune__objective": "knn/top5"}, "tune.objective", "Did you mean 'knn/top1'?"),
        ({"tune__sampler": "grid"}, "tune.sampler", "must be 'tpe' or 'random'"),
        ({"confirm__base_seeds": []}, "confirm.base_seeds", "must hold at least 1"),
        ({"confirm__base_seeds": 5}, "confirm.base_seeds", "must be a list, but got 5"),
        ({"confirm__base_seeds": ["1"]}, "confirm.base_seeds[0]", "must be a whole number, but got '1'"),
        ({"confirm__base_seeds": [1, -2]}, "confirm.base_seeds[1]", "must be at least 0, but got -2"),
        ({"confirm__base_seeds": [2**31]}, "confirm.base_seeds[0]", "must be below 2147483648"),
        ({"confirm__base_seeds": [1, 2, 1]}, "confirm.base_seeds", "every seed counts once, but [1]"),
        ({"confirm__base_seeds": [101, 1]}, "confirm.base_seeds", "share base seeds [101]"),
        ({"confirm__base_seeds": DELETED}, "confirm.base_seeds", "is missing"),
        ({"tune__base_seeds": DELETED}, "tune.base_seeds", "is missing"),
        ({"evaluations__linear_probe": {"label_percent": 5}}, "evaluations.linear_probe.label_percent", "a list"),
        (
            {"evaluations__linear_probe": {"label_percent": [1, "10"]}},
            "evaluations.linear_probe.label_percent[1]",
            "must be a whole number, but got '10'",
        ),
        ({"equivalence_margin_pp": -1}, "equivalence_margin_pp", "must be above 0, but got -1"),
        ({"numerics": {"num_threads": 1000}}, "numerics.num_threads", "must be at most 64"),
    ],
)
def test_one_wrong_value_is_one_clear_problem(change, path, message):
    problems = problems_of(edited(**change))
    assert set(problems) == {path}
    assert message in problems[path]


def test_a_continuation_keeps_only_the_state_of_its_own_optimizer():
    change = {"continuation__optimizer": {"name": "sgd", "lr": 1e-3, "state": "keep"}}
    assert (
        "cannot keep the state of the base's 'adamw'" in problems_of(edited(**change))["continuation.optimizer.state"]
    )


def test_seeds_that_are_both_wrong_and_shared_do_not_hide_each_other():
    problems = problems_of(edited(tune__base_seeds=[1, "x"], tune__trials_per_arm="many"))
    assert set(problems) == {"tune.base_seeds[1]", "tune.trials_per_arm", "confirm.base_seeds"}


def test_a_huge_value_has_a_short_message():
    problems = problems_of(edited(confirm__base_seeds=list(range(2000)), question=["x" * 10**4] * 20))
    assert all(len(message) < 1000 for message in problems.values())
    assert "share base seeds [101]" in problems["confirm.base_seeds"]


def test_an_arm_that_is_wrong_itself_is_not_reported_as_missing_elsewhere():
    assert set(problems_of(edited(arms__e2mc__criterion="e2cm"))) == {"arms.e2mc.criterion"}
    assert set(problems_of(edited(arms__e2mc=None))) == {"arms.e2mc"}
    assert set(problems_of(edited(arms=["e2mc", "base"]))) == {"arms"}
    assert set(problems_of(edited(ablate=5))) == {"ablate"}


def test_duplicate_arms():
    problems = problems_of(TEXT.replace("  uniformity:", "  e2mc:"))
    assert problems == {"line 10": "'e2mc' stands here again, first on line 9; keep one"}


def test_an_evaluation_with_nothing_behind_it_has_its_defaults():
    assert plan_of(evaluations__knn=None).evaluations == plan_of().evaluations


def test_plans_show_their_source_and_count():
    with pytest.raises(PlanError, match=r"^example.yaml: 2 problems\n  - base.epochs: .*\n  - unit: ") as caught:
        load_plan(edited(unit="x", base__epochs=0), "example.yaml")
    assert len(caught.value.problems) == 2


def test_phases_are_in_order():
    assert list(Phase) == ["prepare", "tune", "confirm"]
