from dataclasses import asdict

import pytest

from study.errors import UserError
from study.plan.components import build, resolve
from study.plan.model import Component
from study.registry import names


def resolved(family, name, **given):
    problems = []
    found = resolve(family, name, given, "here", problems)
    return found, {problem.path: problem.message for problem in problems}


def test_defaults_are_filled_in_and_lists_become_tuples_again():
    (component, instance), problems = resolved("evaluations", "linear_probe", label_percent=[1, 100])
    assert not problems
    assert component.params == {"label_percent": [1, 100], "num_draws": [10, 1], "weight_decay": [3e-2, 1e-3]}
    assert instance.label_percent == (1, 100)
    assert build("evaluations", component) == instance


@pytest.mark.parametrize(
    ("name", "given", "path", "message"),
    [
        (
            "e2mx",
            {},
            "here",
            f"no 'e2mx' in study/criteria/. Did you mean 'e2mc'? Known: {', '.join(names('criteria'))}.",
        ),
        ("../errors", {}, "here", "no '../errors' in study/criteria/."),
        ("base", {}, "here", "no 'base' in study/criteria/."),
        ("e2mc", {"weight": 1.0}, "here.weight", "e2mc has no field 'weight'."),
        ("e2mc", {"epsilon": "1e-7"}, "here.epsilon", "must be a number, but got '1e-7'"),
        ("e2mc", {"epsilon": True}, "here.epsilon", "must be a number, but got True"),
        ("e2mc", {"epsilon": None}, "here.epsilon", "must be a number, but nothing stands there"),
        ("e2mc", {"epsilon": float("nan")}, "here.epsilon", "must be finite"),
        ("e2mc", {"epsilon": -1.0}, "here", "epsilon must be finite and > 0"),
        ("e2mc", {"map": ["normal"]}, "here.map", "must be 'normal' or 'sigmoid'"),
    ],
)
def test_wrong_components(name, given, path, message):
    found, problems = resolved("criteria", name, **given)
    assert found is None
    assert problems[path].startswith(message)


def test_all_fields_are_checked_at_once_and_so_are_all_entries_of_a_list():
    _, problems = resolved("criteria", "e2mc", epsilon="x", map=5, nonsense=1)
    assert set(problems) == {"here.epsilon", "here.map", "here.nonsense"}
    _, problems = resolved("evaluations", "linear_probe", num_draws=["a", 1, 2.5], label_percent="all")
    assert set(problems) == {"here.num_draws[0]", "here.num_draws[2]", "here.label_percent"}


def test_a_component_without_its_class_is_a_mistake_of_the_caller():
    with pytest.raises(UserError, match="Did you mean 'e2mc'"):
        build("criteria", Component("e2mm"))


def test_a_whole_number_for_a_real_field_is_the_same_component():
    (component, instance), _ = resolved("criteria", "uniformity", weight=1)
    assert component.params == {"weight": 1.0, "kernel_scale": 2.0} == asdict(instance)
    assert type(component.params["weight"]) is float
