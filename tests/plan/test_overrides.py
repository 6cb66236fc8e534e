import pytest

from study.plan.load import load_plans
from study.plan.space import FloatRange
from tests.fakes.sweep_file import edited, plan_of, problems_of


def test_values_are_yaml():
    plan = plan_of("base.epochs=3", "confirm.base_seeds=[7, 8]", "continuation.optimizer.lr=2e-3", "question='a=b: ü'")
    assert plan.pretraining.epochs == 3
    assert plan.confirm.base_seeds == (7, 8)
    assert plan.continuation.optimizer["lr"] == 2e-3
    assert plan.question == "a=b: ü"


def test_spaces_around_a_key_and_its_value_do_not_matter():
    assert plan_of(" base.epochs = 3 ").pretraining.epochs == 3


def test_the_last_of_two_counts():
    assert plan_of("base.epochs=3", "base.epochs=4").pretraining.epochs == 4


def test_an_entry_of_a_list():
    assert plan_of("contrasts[0]=[uniformity, base]").contrasts[0] == ("uniformity", "base")
    assert plan_of("contrasts[0][0]=uniformity").contrasts[0] == ("uniformity", "continued")


def test_a_whole_mapping():
    plan = plan_of("base={method: simsiam, backbone: conv_gap, epochs: 1}")
    assert (plan.backbone.name, plan.pretraining.epochs) == ("conv_gap", 1)


def test_fields_of_a_component_that_the_file_leaves_to_its_default():
    assert plan_of("augmentation.noise_sd=0.25").augmentation.params["noise_sd"] == 0.25


def test_blocks_can_be_added():
    plans = load_plans(edited(), "example.yaml", ["blocks.base.backbone=[conv_fc, conv_gap]"])
    assert [plan.backbone.name for plan in plans] == ["conv_fc", "conv_gap"]


def test_keys_that_the_schema_has_beside_those_of_the_file():
    assert plan_of("numerics.num_threads=2").numerics["num_threads"] == 2
    assert plan_of("base.optimizer.lr=0.5").pretraining.optimizer["lr"] == 0.5


def test_fields_of_components():
    assert plan_of("dataset.split_seed=3").dataset.params["split_seed"] == 3
    assert plan_of("base.method.projection_dim=64").method.params["projection_dim"] == 64
    assert plan_of("evaluations.knn.num_neighbours=5").evaluations[1].params["num_neighbours"] == 5
    assert plan_of("evaluations.knn.num_neighbours=5", evaluations__knn=None).evaluations[1].params["temperature"]
    assert plan_of("arms.e2mc.map=sigmoid").arm("e2mc").criterion.params["map"] == "sigmoid"


def test_keys_that_hold_dots_themselves():
    lr = "continuation.optimizer.lr"
    plan = plan_of(f"tune.shared.{lr}.low=1e-5", f"tune.shared.{lr}.log=false")
    assert plan.arm("continued").space == {lr: FloatRange(1e-5, 3e-3, log=False)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("base.epoch=3", "no key 'epoch' in base. Did you mean 'epochs'? Known: backbone, batch_size"),
        ("bsae.epochs=3", "no key 'bsae' in the sweep file. Did you mean 'base'?"),
        ("arms.e2cm.map=normal", "no key 'e2cm' in arms. Did you mean 'e2mc'?"),
        ("evaluations.kn={}", "no key 'kn' in evaluations. Did you mean 'knn'?"),
        ("arms.uniformity.start.loss=1", "no key 'loss' in arms.uniformity.start. Known: weight."),
        ("base.epochs.x=1", "base.epochs is 20 and has no key 'x'"),
        ("contrasts[3]=[a, b]", "contrasts is a list of 3; 3 is not an index into it, counted from 0"),
        ("contrasts.first=[a, b]", "'first' is not an index into it"),
        ("contrasts[-1]=[a, b]", "'-1' is not an index into it"),
        ("base.epochs=[1", "'[1' is not readable as YAML"),
        ("base=!!python/object/apply:os.system [id]", "the tag !!python/object/apply:os.system is refused"),
        ("numerics={num_threads: 1, num_threads: 2}", "'num_threads' stands here again"),
    ],
)
def test_a_key_that_does_not_exist_or_a_value_that_is_no_value(override, message):
    problems = problems_of(edited(), override)
    assert message in problems[f"override {override.partition('=')[0]}"]


@pytest.mark.parametrize("override", ["base.epochs", "=5", ".=5", "[]=5", "="])
def test_what_is_no_override(override):
    assert problems_of(edited(), override) == {
        f"override {override!r}": "is not key=value, e.g. 'confirm.base_seeds=[1,2,3]'"
    }


def test_an_override_that_makes_the_file_wrong_is_named():
    problems = problems_of(edited(), "base.epochs=x", "dataset.num_ssl_images=0", "unit=base")
    assert problems == {
        "base.epochs": "must be a whole number, but got 'x' (override base.epochs)",
        "dataset": "num_ssl_images must be >= 1, but got num_ssl_images=0 (override dataset.num_ssl_images)",
    }


def test_problems_of_overrides_and_of_the_file_come_together():
    problems = problems_of(edited(reference="nobody"), "base.epoch=3", "primary=knn/top", "nonsense")
    assert set(problems) == {"override base.epoch", "override 'nonsense'", "primary", "reference"}
    assert "(override primary)" in problems["primary"]
    assert "(override" not in problems["reference"]
