import pytest

from study import registry
from study.plan.model import Component
from study.plan.space import STRENGTH_RANGE
from tests.fakes.sweep_file import DELETED, edited, plan_of, problems_of

LR = "continuation.optimizer.lr"


def test_an_arm_tunes_what_its_criterion_declares_and_what_all_arms_share():
    arm = plan_of().arm("uniformity")
    assert set(arm.space) == set(arm.start) == {"criterion.weight", LR}
    assert arm.space["criterion.weight"] == registry.component("criteria", "uniformity").search_space["weight"]
    assert arm.start == {"criterion.weight": 0.5, LR: 1e-3}
    assert arm.criterion == Component("uniformity", {"weight": 0.5, "kernel_scale": 2.0})
    assert type(arm.criterion.params["kernel_scale"]) is float, "2 and 2.0 are the same training"


def test_the_reference_tunes_what_all_arms_share():
    assert set(plan_of().arm("continued").space) == {LR}


def test_the_arm_that_is_not_continued_tunes_nothing():
    arm = plan_of().arm("base")
    assert not arm.continued
    assert not arm.space
    assert not arm.is_tuned


def test_a_fixed_field_is_not_tuned():
    arm = plan_of(arms__e2mc={"criterion": "e2mc", "entropy_weight": 3, "start": {"covariance_weight": 1}}).arm("e2mc")
    assert set(arm.space) == {"criterion.covariance_weight", LR}
    assert arm.criterion.params["entropy_weight"] == 3.0


def test_an_own_space_replaces_the_declared_one():
    space = {"epsilon": {"low": 1e-8, "high": 1e-6, "log": True}}
    arm = plan_of(arms__e2mc={"criterion": "e2mc", "space": space, "entropy_weight": 1}).arm("e2mc")
    assert set(arm.space) == {"criterion.epsilon", LR}


def test_generated_ablations_with_searches_of_their_own():
    plan = plan_of()
    parent, arm = plan.arm("e2mc"), plan.arm("e2mc-no-entropy")
    assert arm.criterion == Component("e2mc", {**parent.criterion.params, "entropy_weight": 0.0})
    assert set(arm.space) == set(arm.start) == {"criterion.covariance_weight", LR}
    assert (arm.parent, arm.dropped, arm.inherits, arm.is_tuned) == ("e2mc", ("entropy",), False, True)
    assert plan.arms.index(arm) == plan.arms.index(parent) + 1


def test_generated_ablations_that_inherit_the_winner():
    arm = plan_of(ablate__weights="inherited").arm("e2mc-no-covariance")
    assert (arm.inherits, arm.is_tuned) == (True, False)
    assert arm.criterion.params["covariance_weight"] == 0.0


def test_several_rules_of_ablation():
    rules = [{"arm": "e2mc", "drop": ["entropy"]}, {"arm": "e2mc", "drop": ["covariance"], "weights": "inherited"}]
    plan = plan_of(ablate=rules)
    assert not plan.arm("e2mc-no-entropy").inherits
    assert plan.arm("e2mc-no-covariance").inherits


def test_all_components_are_dropped_one_at_a_time():
    names = [arm.name for arm in plan_of(ablate={"arm": "e2mc", "drop": "all"}).arms if arm.parent]
    assert names == [f"e2mc-no-{part}" for part in registry.component("criteria", "e2mc").components]


def test_a_field_can_be_swapped_for_nothing():
    given = {"criterion": "e2mc", "nominal_batch_size": 512, "start": {"entropy_weight": 1, "covariance_weight": 1}}
    plan = plan_of(arms__e2mc=given, ablate={"arm": "e2mc", "swap": {"nominal_batch_size": None}}, contrasts=[])
    assert plan.arm("e2mc-nominal_batch_size-none").criterion.params["nominal_batch_size"] is None


def test_fields_are_swapped_one_value_at_a_time():
    swap = {"map": "sigmoid", "spacing": [5, [5, 11]], "entropy_weight": 0}
    plan = plan_of(ablate={"arm": "e2mc", "swap": swap, "weights": "inherited"}, contrasts=[])
    parent, arms = plan.arm("e2mc"), [arm for arm in plan.arms if arm.parent == "e2mc"]
    values = {"map-sigmoid": ("map", "sigmoid"), "spacing-5": ("spacing", 5), "spacing-5-11": ("spacing", [5, 11])}
    values["entropy_weight-0_0"] = ("entropy_weight", 0.0)
    assert [arm.name for arm in arms] == [f"e2mc-{suffix}" for suffix in values]
    for arm, (field, value) in zip(arms, values.values(), strict=True):
        assert arm.criterion.params == {**parent.criterion.params, field: value}
        assert (arm.swapped, arm.dropped, arm.inherits) == ({field: value}, (), True)
    assert set(plan.arm("e2mc-entropy_weight-0_0").space) == {"criterion.covariance_weight", LR}


def test_a_contrast_may_name_a_swapped_arm():
    plan = plan_of(ablate={"arm": "e2mc", "swap": {"map": "sigmoid"}}, contrasts=[["e2mc", "e2mc-map-sigmoid"]])
    assert plan.contrasts == (("e2mc", "e2mc-map-sigmoid"),)


def test_a_preset_gives_what_the_arm_does_not_say():
    given = {"criterion": "e2mc", "preset": "simsiam", "epsilon": 1e-3, "start": {"covariance_weight": 2}}
    arm = plan_of(arms__e2mc=given).arm("e2mc")
    assert arm.criterion.params["epsilon"] == 1e-3
    assert arm.start == {"criterion.entropy_weight": 1.0, "criterion.covariance_weight": 2.0, LR: 1e-3}


def test_without_a_search_every_arm_runs_at_its_start():
    plan = plan_of(tune="none", arms__mmcr={"criterion": "mmcr", "start": {"strength": 9}})
    assert not any(arm.is_tuned or arm.space or arm.start for arm in plan.arms)
    assert plan.arm("uniformity").criterion.params["weight"] == 0.5
    assert plan.arm("mmcr").strength == 9
    assert plan.base_seeds == plan.confirm.base_seeds == (1, 2, 3)
    problems = problems_of(
        edited(tune="none", arms__mmcr={"criterion": "mmcr", "space": {"weight": {"low": 1, "high": 2}}})
    )
    assert set(problems) == {"arms.mmcr.space"} and "nothing is searched with tune: none" in problems["arms.mmcr.space"]


def test_bases_of_a_search_are_needed_when_something_is_searched():
    assert plan_of().base_seeds == (101, 1, 2, 3)
    arms = {"base": {"continue": False}, "continued": {"criterion": "none"}}
    problems = problems_of(edited(arms=arms, ablate=DELETED, contrasts=[], tune__shared={}))
    assert problems == {"tune": "no arm has anything to search; write tune: none"}


class TestStrength:
    def test_in_start_it_takes_the_place_of_the_weights(self):
        arm = plan_of(arms__uniformity={"criterion": "uniformity", "start": {"strength": 0.5}}).arm("uniformity")
        assert arm.space == {"strength": STRENGTH_RANGE, LR: arm.space[LR]}
        assert (arm.strength, arm.start["strength"]) == (0.5, 0.5)

    def test_fixed_it_is_not_tuned_and_neither_are_the_weights(self):
        arm = plan_of(arms__uniformity={"criterion": "uniformity", "strength": 0.5}).arm("uniformity")
        assert arm.strength == 0.5 and set(arm.space) == {LR}

    def test_its_range_and_further_fields_may_be_given(self):
        space = {"strength": {"low": 0.1, "high": 1}, "kernel_scale": {"low": 1, "high": 3}}
        arm = plan_of(arms__uniformity={"criterion": "uniformity", "start": {"strength": 0.5}, "space": space}).arm(
            "uniformity"
        )
        assert set(arm.space) == {"strength", "criterion.kernel_scale", LR}
        assert (arm.space["strength"].low, arm.space["strength"].high) == (0.1, 1.0)

    def test_ablations_keep_it(self):
        plan = plan_of(arms__e2mc={"criterion": "e2mc", "start": {"strength": 0.5}})
        assert plan.arm("e2mc-no-entropy").start["strength"] == 0.5

    @pytest.mark.parametrize(
        ("arm", "path", "message"),
        [
            ({"criterion": "none", "strength": 1.0}, "strength", "none adds nothing, so it has no strength"),
            ({"criterion": "none", "start": {"strength": 1.0}}, "start.strength", "none adds nothing"),
            ({"criterion": "mmcr", "strength": 0}, "strength", "must be above 0, but got 0"),
            ({"criterion": "mmcr", "strength": "a"}, "strength", "must be a number"),
            ({"criterion": "mmcr", "strength": 1, "weight": 0}, "strength", "whose weight is 0"),
            ({"criterion": "mmcr", "strength": 1, "weight": 2}, "weight", "the strength takes its place"),
            (
                {"criterion": "mmcr", "strength": 1, "space": {"weight": {"low": 1, "high": 2}}},
                "space.weight",
                "the strength takes its place",
            ),
            ({"criterion": "mmcr", "strength": 1, "start": {"strength": 1}}, "start.strength", "keep one"),
            ({"criterion": "mmcr", "start": {"strength": 90}}, "start.strength", "outside of its range [0.2, 20]"),
            ({"criterion": "mmcr", "start": {"strength": 1, "weight": 1}}, "start.weight", "takes its place"),
            ({"criterion": "mmcr", "space": {"strength": {"low": 1, "high": 2}}}, "space.strength", "needs a value in"),
            (
                {"criterion": "mmcr", "strength": 1.0, "space": {"strength": {"low": 1, "high": 2}}},
                "space.strength",
                "is fixed in the same arm; move its value to start",
            ),
            (
                {"criterion": "mmcr", "start": {"strength": 1}, "space": {"strength": {"low": 0, "high": 2}}},
                "space.strength.low",
                "must be above 0, but got 0",
            ),
        ],
    )
    def test_wrong_strengths(self, arm, path, message):
        assert message in problems_of(edited(arms__mmcr=arm))[f"arms.mmcr.{path}"]

    @pytest.mark.parametrize(
        ("arm", "path", "message"),
        [
            ({"criterion": "none", "strength": 2}, "strength", "none adds nothing"),
            ({"criterion": "mmcr", "start": {"strength": -2}}, "start.strength", "must be above 0, but got -2"),
            ({"criterion": "mmcr", "start": {"strength": 0}}, "start.strength", "must be above 0, but got 0"),
        ],
    )
    def test_wrong_strengths_without_a_search(self, arm, path, message):
        assert message in problems_of(edited(tune="none", arms__mmcr=arm))[f"arms.mmcr.{path}"]

    @pytest.mark.parametrize(
        "change", [{"ablate__weights": "inherited"}, {"arms__e2mc": {"criterion": "e2mc", "strength": 1.0}}]
    )
    def test_components_are_dropped_where_every_arm_searches_its_own(self, change):
        """At one strength for both, what is left of the criterion would weigh more than in the parent."""
        changes = {"arms__e2mc": {"criterion": "e2mc", "start": {"strength": 0.5}}, **change}
        assert "what is left of it more weight" in problems_of(edited(**changes, contrasts=[]))["ablate.drop"]


class TestAddedOneAtATime:
    def test_each_component_is_kept_alone(self):
        plan = plan_of(ablate={"arm": "e2mc", "add": "all"}, contrasts=[["e2mc-only-entropy", "continued"]])
        only = {arm.name: arm for arm in plan.arms if arm.parent}
        assert list(only) == ["e2mc-only-entropy", "e2mc-only-covariance"]
        entropy = only["e2mc-only-entropy"]
        assert entropy.criterion.params["covariance_weight"] == 0 and entropy.dropped == ("covariance",)
        assert "criterion.entropy_weight" in entropy.space and "criterion.covariance_weight" not in entropy.space

    @pytest.mark.parametrize(
        ("rule", "path", "message"),
        [
            ({"add": ["entropie"]}, "ablate.add[0]", "no component 'entropie'. Did you mean 'entropy'?"),
            ({"add": ["entropy", "entropy"]}, "ablate.add[1]", "twice"),
            ({"add": "all", "drop": "all"}, "arms.e2mc-only-covariance", "is the same as e2mc-no-entropy"),
        ],
    )
    def test_wrong_additions(self, rule, path, message):
        assert message in problems_of(edited(ablate={"arm": "e2mc", **rule}, contrasts=[]))[path]


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"ablate": {"arm": "e2mc"}}, "ablate", "needs drop or add (a list of components, or all), or swap"),
        ({"ablate": {"arm": "uniformity", "drop": "all"}}, "ablate.drop", "uniformity has no components to leave out"),
        ({"ablate__swap": {"mop": "sigmoid"}}, "ablate.swap.mop", "e2mc has no field 'mop'. Did you mean 'map'?"),
        ({"ablate__swap": {"map": "tanh"}}, "ablate.swap.map", "must be 'normal' or 'sigmoid', but got 'tanh'"),
        ({"ablate__swap": {"map": ["sigmoid", 5]}}, "ablate.swap.map[1]", "must be 'normal' or 'sigmoid'"),
        ({"ablate__swap": {"map": "normal"}}, "ablate.swap.map", "e2mc has normal already"),
        ({"ablate__swap": {"nominal_batch_size": None}}, "ablate.swap.nominal_batch_size", "e2mc has null already"),
        ({"ablate__swap": {"bias_correction": "digamma"}}, "ablate.swap.bias_correction", "its parent's twin"),
        (
            {"arms__e2mc": {"criterion": "e2mc", "entropy_weight": 0, "start": {"covariance_weight": 1}}},
            "ablate.drop[0]",
            "e2mc has no entropy that could be left out",
        ),
        ({"ablate__swap": {"spacing": [list(range(1, 60))]}}, "arms.e2mc-spacing-", "longer than 80 characters"),
        ({"ablate__swap": {"epsilon": -1}}, "ablate.swap.epsilon", "epsilon must be finite and > 0"),
        ({"ablate__swap": {"epsilon": []}}, "ablate.swap.epsilon", "holds no value"),
        (
            {"ablate__swap": {"spacing": "x"}},
            "ablate.swap.spacing",
            "must be 'sqrt', or a whole number, or a list, but",
        ),
        ({"ablate__swap": ["map"]}, "ablate.swap", "must be a mapping"),
        ({"arms__e2mc__preset": "swaw"}, "arms.e2mc.preset", "e2mc has no preset 'swaw'. Did you mean 'swav'?"),
        ({"arms__base__preset": "swav"}, "arms.base.preset", "an arm with continue: false"),
    ],
)
def test_wrong_ablations_and_presets(change, path, message):
    (found,) = [m for p, m in problems_of(edited(**change)).items() if p.startswith(path)]
    assert message in found


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        (
            {"arms__e2mc": {}},
            "arms.e2mc",
            f"needs a criterion ({', '.join(registry.names('criteria'))}), or continue: false",
        ),
        ({"arms__e2mc": {"criterium": "e2mc"}}, "arms.e2mc", "Is 'criterion' meant by 'criterium'?"),
        ({"arms__e2mc__criterion": 5}, "arms.e2mc.criterion", "must be text"),
        ({"arms__e2mc__map": "norml"}, "arms.e2mc.map", "must be 'normal' or 'sigmoid', but got 'norml'"),
        ({"arms__uniformity__kernel_scale": -1}, "arms.uniformity", "kernel_scale must be finite and > 0"),
        ({"arms__e2mc__start__entropy_weight": "a"}, "arms.e2mc.start.entropy_weight", "must be a number"),
        ({"arms__e2mc__start__entropy_weight": 99.0}, "arms.e2mc.start.entropy_weight", "outside of its range"),
        ({"arms__e2mc__start__epsilon": 1e-7}, "arms.e2mc.start.epsilon", "is not tuned"),
        ({"arms__e2mc__entropy_weight": 1.0}, "arms.e2mc.start.entropy_weight", "fixed fields too; keep one"),
        ({"arms__base__criterion": "e2mc"}, "arms.base.criterion", "an arm with continue: false has no criterion"),
        ({"arms__base__space": {"a": {"low": 1, "high": 2}}}, "arms.base.space", "an arm with continue: false"),
        ({"arms__base": {"continue": 0}}, "arms.base.continue", "must be true or false, but got 0"),
        ({"arms__base": DELETED, "contrasts": []}, "arms", "add  base: {continue: false}"),
        (
            {"arms__continued": DELETED, "contrasts": [], "reference": "e2mc"},
            "arms",
            "add  continued: {criterion: none}",
        ),
        ({"arms__a b": {"criterion": "none"}}, "arms.a b", "may hold letters"),
        ({"arms__e2mc-no-entropy": {"criterion": "none"}}, "arms.e2mc-no-entropy", "is declared and generated"),
        ({"ablate__arm": "e2cm"}, "ablate.arm", "no arm 'e2cm'. Did you mean 'e2mc'?"),
        ({"ablate__arm": "base"}, "ablate.arm", "'base' is not continued"),
        ({"ablate__arm": "uniformity"}, "ablate.drop[0]", "uniformity has no component 'entropy'. Known: none."),
        ({"ablate__drop": ["entropy", "entropy"]}, "ablate.drop[1]", "'entropy' stands there twice; keep one"),
        ({"ablate__drop": []}, "ablate.drop", "must hold at least 1"),
        ({"ablate__weights": "shared"}, "ablate.weights", "must be 'tuned' or 'inherited'"),
        ({"ablate": [{"arm": "e2mc", "drop": [5]}]}, "ablate[0].drop[0]", "must be text, but got 5"),
        ({"ablate": [{"arm": "nobody", "drop": ["x"]}]}, "ablate[0].arm", "no arm 'nobody'"),
    ],
)
def test_wrong_arms(change, path, message):
    assert message in problems_of(edited(**change))[path]


@pytest.mark.parametrize(
    ("space", "path", "message"),
    [
        ({"wait": {"low": 1, "high": 2}}, "wait", "e2mc has no field 'wait' to tune"),
        ({"entropy_wight": {"low": 1, "high": 2}}, "entropy_wight", "Did you mean 'entropy_weight'?"),
        ({"map": {"low": 1, "high": 2}}, "map", "is normal, and a search samples real numbers alone"),
        ({"epsilon": {"low": 2, "high": 1}}, "epsilon", "low < high must hold, but got low=2, high=1"),
        ({"epsilon": {"low": 0, "high": 1, "log": True}}, "epsilon", "a log range needs low > 0"),
        ({"entropy_weight": {"low": -1, "high": 1}}, "entropy_weight", "[-1, 1] holds values that are refused"),
        ({"epsilon": {"low": 1}}, "epsilon.high", "is missing"),
        ({"epsilon": [1, 2]}, "epsilon", "must be a mapping"),
        ({"epsilon": {"low": "a", "high": 1}}, "epsilon.low", "must be a number"),
    ],
)
def test_a_tuned_parameter_that_the_criterion_does_not_have_or_not_like_this(space, path, message):
    problems = problems_of(edited(arms__e2mc={"criterion": "e2mc", "space": space}))
    assert message in problems[f"arms.e2mc.space.{path}"]


def test_a_parameter_may_not_be_fixed_and_tuned():
    space = {"entropy_weight": {"low": 1, "high": 2}}
    problems = problems_of(edited(arms__e2mc={"criterion": "e2mc", "entropy_weight": 1, "space": space}))
    assert problems == {"arms.e2mc.space.entropy_weight": "is fixed in the same arm; move its value to start"}


@pytest.mark.parametrize(
    ("shared", "path", "message"),
    [
        ({"continuation.optimizer.rl": {"low": 1, "high": 2}}, "continuation.optimizer.rl", "Did you mean"),
        ({LR: {"low": -1, "high": 2}}, f"{LR}.low", "must be above 0, but got -1"),
        ({LR: {"low": 2, "high": 1}}, LR, "low < high must hold"),
        ({LR: 1e-3}, LR, "must be a mapping"),
    ],
)
def test_wrong_shared_parameters(shared, path, message):
    problems = problems_of(edited(tune__shared=shared))
    assert message in problems[f"tune.shared.{path}"]
    assert len(problems) == 1
