"""A file that should define a component and does not: one clear error with file, line and what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study import registry
from tests.fakes.checkout import answer_of, copy_of_checkout
from tests.fakes.sweep_file import TEXT, edited

HEAD = """\
from dataclasses import dataclass, field
from typing import Any, ClassVar
from study.criteria.base import Criterion, CriterionResult, Views
from study.plan.space import FloatRange
"""
BODY = "    def compute(self, views: Views) -> CriterionResult: ...\n"
FROZEN = "@dataclass(frozen=True)\nclass Mine(Criterion):\n"
SHAPE = "\n        class Mine(Criterion):\n            weight: float = 1.0  # a field"

FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "not frozen": (
        f"@dataclass\nclass Mine(Criterion):\n    weight: float = 1.0\n{BODY}",
        ("line 6: class Mine is a dataclass that is not frozen; write @dataclass(frozen=True) above it", SHAPE),
    ),
    "no dataclass": (
        f"class Mine(Criterion):\n    weight = 1.0\n{BODY}",
        ("line 5: class Mine is no dataclass; write @dataclass(frozen=True)", "line 6: weight has no type", SHAPE),
    ),
    "fields below a dataclass": (
        f"{FROZEN}{BODY}class Mine2(Mine):\n    weight: float = 1.0\ndel Mine\n",
        ("class Mine2 adds fields; write @dataclass(frozen=True) above it",),
    ),
    "two components": (
        f"{FROZEN}{BODY}{FROZEN.replace('Mine', 'Yours')}{BODY}",
        ("it defines 2 components, Mine (line 5), Yours (line 8); one file is one component: move the others",),
    ),
    "no component": ("x = 1\n", ("mine.py cannot be used", "it defines no criterion", SHAPE)),
    "abstract": (
        f"{FROZEN}    weight: float = 1.0\n",
        (
            "line 6: class Mine has no method compute; write def compute(self, views: Views) -> CriterionResult: ...",
            SHAPE,
        ),
    ),
    "no type": (
        f"{FROZEN}    weight: float = 1.0\n    scale = 2\n{BODY}",
        ("line 8: scale has no type, so it is no field; write scale: int = 2, or scale: ClassVar[int] = …",),
    ),
    "unsupported type": (
        (
            f"import torch\n{FROZEN}    matrix: torch.Tensor | None = None\n"
            f"    sizes: list[int] = field(default_factory=list)\n    names: tuple[Any, ...] = ()\n{BODY}"
        ),
        (
            "line 8: matrix has a type that YAML cannot give, torch.Tensor | None; use bool, int, float, str, Literal",
            "line 9: sizes has a type that YAML cannot give, list[int]; use tuple[int, ...]",
            "line 10: names has a type that YAML cannot give, tuple[Any, ...]",
        ),
    ),
    "unknown type": (f"{FROZEN}    weight: 'flaot' = 1.0\n{BODY}", ("name 'flaot' is not defined",)),
    "mutable default": (
        f"{FROZEN}    weight: float = 1.0\n    sizes: list = []\n{BODY}",
        ("line 8: the default of sizes is a list, which runs would share; write a tuple, sizes: tuple[float, ...]",),
    ),
    "wrong default": (
        f"{FROZEN}    weight: float = None\n{BODY}",
        ("line 7: the default of weight is None, which is no float; change one of them",),
    ),
    "field that is not set": (
        f"{FROZEN}    weight: float = field(default=1.0, init=False)\n{BODY}",
        ("line 7: weight has init=False, so that no sweep file could set it; make it a property",),
    ),
    "declaration as field": (
        f"{FROZEN}    min_views: int = 2\n{BODY}",
        ("line 7: min_views is no setting, but what the class declares; write min_views: ClassVar = …",),
    ),
    "key of an arm": (
        f"{FROZEN}    space: str = 'sphere'\n{BODY}",
        ("line 7: space means something else in an arm of a sweep file; call the field otherwise",),
    ),
    "declarations": (
        (
            f"{FROZEN}    weight: float = 1.0\n    count: int = 3\n"
            "    search_space: ClassVar = {'wait': FloatRange(0, 1), 'count': FloatRange(1, 2), 'weight': (0, 1)}\n"
            "    components: ClassVar = {'a b': {'wait': 0.0}, 'part': {'weight': 'x'}, 'other': 1}\n"
            "    presets: ClassVar = {'big': {'wait': 5.0}}\n"
            f"    reported_fields: ClassVar = ('cuont',)\n{BODY}"
        ),
        (
            "line 9: search_space names 'wait', which is no field. Did you mean 'weight'? Known: count, weight.",
            "line 9: search_space: count is no float but int; a search samples real numbers alone: leave it out",
            "line 9: search_space: weight must have a FloatRange, but has (0, 1)",
            "line 10: components['a b']: a name may hold letters, digits, _ and -",
            "line 10: components['a b'] names 'wait', which is no field.",
            "line 10: components['part']: weight is float, but the value is 'x'",
            "line 10: components['other'] must map fields to values, but is 1",
            "line 11: presets['big'] names 'wait', which is no field. Did you mean 'weight'?",
            "line 12: reported_fields names 'cuont', which is no field. Did you mean 'count'?",
        ),
    ),
    "not Python": (
        "def compute(:\n",
        ("mine.py cannot be used: line 5: this is not Python (invalid syntax): def comp",),
    ),
    "missing package": (
        "import no_such_package.inner\n",
        ("line 5: it imports no_such_package, which is not installed; install it: ", "-m pip install no_such_package"),
    ),
    "missing module": (
        "from study.criteria._temrs import Term\n",
        ("line 5: it imports study.criteria._temrs, which does not exist. Did you mean 'study.criteria._terms'?",),
    ),
    "missing name": ("from study.criteria.base import View\n", ("line 5: ImportError: cannot import name 'View'",)),
    "module level": ("table = {}\ntable['x']\n", ("line 6: KeyError: 'x', while it was imported",)),
    "program": ("import sys\nsys.exit(1)\n", ("line 6: it ends Python while it is imported",)),
    "null bytes": ("x = 1\0\n", ("mine.py cannot be used: this is not Python (source code",)),
    "made by a function": (  # which the file does not show
        "def made():\n    class A(Criterion):\n        pass\n    A.__name__ = 'Mine'\n    return A\nMine = made()\n",
        ("class Mine is no dataclass; write @dataclass(frozen=True) above it",),
    ),
    "refused by a helper": (
        "from study.tensors.spacings import default_spacing\ndefault_spacing(None)\n",
        ("study/tensors/spacings.py, line ",),
    ),
    "post_init": (
        f"{FROZEN}    weight: float = 1.0\n    def __post_init__(self):\n        {{}}['x']\n{BODY}",
        ("mine.py cannot be used: line 9, in __post_init__: KeyError: 'x'; to refuse a value, raise ValueError",),
    ),
    "check_batch": (
        f"{FROZEN}    weight: float = 1.0\n    def check_batch(self, num_rows):\n        num_rows / 0\n{BODY}",
        ("mine.py cannot be used: line 9, in check_batch: ZeroDivisionError: division by zero",),
    ),
}
METRICS = {
    "return {'top1'}": "metric_names() must return a tuple of names, e.g. ('top1',), but got {'top1'}",
    "return ()": "metric_names() must return a tuple of names",
    "return ('top1/all', 'top%', 'top@1', 'ok_1.5-x')": "but got 'top1/all', 'top%', 'top@1'",
    "return ('a', 'a')": "has a name twice",
    "return 1 / 0": "line 9, in metric_names: ZeroDivisionError: division by zero",
}
EVALUATION = """\
from dataclasses import dataclass
from study.evaluations.base import Evaluation

@dataclass(frozen=True)
class Mine(Evaluation):
    def __call__(self, task):
        return {"top1": 1.0}
    def metric_names(self):
"""
DRIVER = """
import importlib, json, sys
from pathlib import Path
from study import registry
from study.errors import UserError
from study.plan.contract import checked
from study.plan.load import load_plan

given, answers = json.load(sys.stdin), {}
for number, (family, source, text) in enumerate(given):
    file = Path("study") / family / "mine.py"
    file.write_text(source)
    importlib.invalidate_caches()
    sys.modules.pop(f"study.{family}.mine", None)
    sys.modules.pop(f"study.{family}", None)
    try:
        load_plan(text, "example.yaml") if text else checked(family, "mine")
        answers[number] = ""
    except UserError as error:
        answers[number] = str(error)
    file.unlink()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def said(checkout: Path) -> dict[str, str]:
    """What loading says of every file, by the key of its table; "" when it is content. One process asks them all."""
    criterion = edited(arms__uniformity={"criterion": "mine"})
    evaluation = edited(evaluations={"mine": None, "linear_probe": {"label_percent": [1, 10, 100]}, "knn": None})
    cases: dict[str, Any] = {name: ("criteria", HEAD + source, criterion) for name, (source, _) in FAULTS.items()}
    cases |= {line: ("evaluations", f"{EVALUATION}        {line}\n", evaluation) for line in METRICS}
    for family in ("augmentations", "backbones", "criteria", "datasets", "evaluations", "methods"):
        cases[f"example of {family}"] = (family, example(family), None)
    answers = answer_of(DRIVER, checkout, list(cases.values()))
    return {name: answers[str(number)] for number, name in enumerate(cases)}


def example(family: str) -> str:
    """The file that follows the advice."""
    base = registry.base_of(family)
    imports = (
        "__future__ import annotations",
        "dataclasses import dataclass",
        f"{base.__module__} import {base.__name__}",
    )
    return "".join(f"from {line}\n" for line in imports) + registry.example(base, "Mine").replace("…", "1")


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_error(said: dict[str, str], fault: str) -> None:
    message = said[fault]
    assert message.startswith("example.yaml: 1 problem\n  - arms.uniformity") or "check_batch" in fault
    assert "study/criteria/mine.py" in message
    for part in FAULTS[fault][1]:
        assert part in message


@pytest.mark.parametrize("line", METRICS)
def test_names_of_metrics(said: dict[str, str], line: str) -> None:
    assert "study/evaluations/mine.py" in said[line]
    assert METRICS[line] in said[line]


@pytest.mark.parametrize("family", ["augmentations", "backbones", "criteria", "datasets", "evaluations", "methods"])
def test_the_shape_that_is_shown_is_right(said: dict[str, str], family: str) -> None:
    assert said[f"example of {family}"] == ""


def test_a_file_that_several_arms_name_is_told_about_once(checkout: Path) -> None:
    text = edited(arms__uniformity={"criterion": "mine"}, arms__e2mc={"criterion": "mine"}, base__epochs=0)
    (answer,) = answer_of(DRIVER, checkout, [("criteria", "x = 1 / 0\n", text)]).values()
    assert answer.count("ZeroDivisionError") == 1
    assert "base.epochs: must be at least 1" in answer, "the rest of the sweep file is checked all the same"


BROKEN = """
import json, sys
from pathlib import Path
text = json.load(sys.stdin)
for family in ("criteria", "backbones", "methods", "pretrained"):
    (Path("study") / family / "theirs.py").write_text(f"Path({family!r}).loaded\\n")
from study.errors import UserError
from study.plan.load import load_plan
load_plan(text, "example.yaml")
named = [name for name in sys.modules if name.startswith("study.criteria.") and not name.endswith(".base")]
answers = []
for wrong in ("criterion: mmmcr", "backbone: conv_fv", "criterion: theirs"):
    key, name = wrong.split(": ")
    try:
        load_plan(text.replace(f"{key}: uniformity", wrong).replace(f"{key}: conv_fc", wrong), "example.yaml")
    except UserError as error:
        answers.append(str(error))
local = text.replace("arms:", "augmentation: {name: small_images, num_local_views: 2}\\narms:")
try:
    load_plan(local, "example.yaml")
except UserError as error:
    answers.append(str(error))
before = sorted(named)
import study.worker.preload
from study import registry
print(json.dumps([before, answers, registry.broken()]))
"""


def test_what_others_have_broken_stops_nothing_that_does_not_name_it(tmp_path: Path) -> None:
    """A study loads, gives advice and forks its runs, although files of four families cannot be imported."""
    loaded, answers, broken = answer_of(BROKEN, copy_of_checkout(tmp_path), TEXT)
    criteria = {"e2mc", "none", "uniformity"}
    assert set(loaded) <= {f"study.criteria.{name}" for name in (*criteria, "_terms")}, "nothing else was imported"
    wrong_criterion, wrong_backbone, theirs, local = answers
    assert "Did you mean 'mmcr'?" in wrong_criterion
    assert "Did you mean 'conv_fc'?" in wrong_backbone
    assert "study/criteria/theirs.py cannot be used: line 1: NameError: name 'Path' is not defined" in theirs
    assert "write 0, or use " in local
    assert [line.partition(" ")[0] for line in broken] == [
        f"study/{family}/theirs.py" for family in ("backbones", "criteria", "methods", "pretrained")
    ]
    assert all("cannot be used; this study does not. line 1: NameError" in line for line in broken)
