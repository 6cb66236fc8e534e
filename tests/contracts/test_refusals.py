"""A component that refuses a value names the field and says what would be right: taking that, it is content."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_origin

import pytest
from pydantic import ValidationError

from study import registry
from study.plan.fields import adapter

FAMILIES = ("augmentations", "backbones", "criteria", "datasets", "evaluations", "methods")
COMPONENTS = [(family, name) for family in FAMILIES for name in registry.names(family)]
WRONG: Mapping[Any, tuple[Any, ...]] = {
    int: (-1, 0, 1, 10**6), float: (-1.0, 0.0, 1.5, 1e9), str: ("nonsense", "")
}  # fmt: skip
Given = dict[str, Any]
Follow = Callable[[Given, re.Match[str]], Any]


def set_to(value: Any) -> Follow:
    return lambda given, m: given.update({m["field"]: value})


def set_number(given: Given, m: re.Match[str]) -> None:
    given[m["field"]] = type(given[m["field"]])(float(m["value"]))


def fit_split(given: Given, m: re.Match[str]) -> None:
    given.update(num_ssl_images=int(m["value"]) - 10, num_validation_images=10)


ADVICE: list[tuple[str, Follow]] = [
    (r"^(?P<field>\w+) must be (finite and )?(a whole number )?(>=|≥) (?P<value>\S+), (but )?got", set_number),
    (r"^(?P<field>\w+) must be finite and > 0, (but )?got", set_to(1.0)),
    (r"^(?P<field>\w+) must be a whole number from (?P<value>\d+) to \d+, got", set_number),
    (r"^(?P<field>\w+) must lie in \[0, 1\], but got \(", set_to((0.5, 0.5))),
    (r"^(?P<field>\w+) must lie in \[(?P<value>\S+), \S+[\])], (but )?got", set_number),
    (r"^(?P<field>\w+) must lie in \(\S+, (?P<value>\S+)\], but got", set_number),
    (r"^0 < low <= high <= (1|inf) must hold, but got (?P<field>\w+)=", set_to((0.5, 1.0))),
    (r"^0 < low <= high must hold, but got (?P<field>erase_pixels)=", set_to((1, 2))),
    (r"^0 < low <= high must hold, but got (?P<field>\w+)=", set_to((0.5, 1.0))),
    (r"^(?P<field>widths) must be one or more positive numbers, but got widths=", set_to((8,))),
    (r"^(?P<field>\w+) must be (one of )?(?P<value>\w+)( or|,) ", lambda g, m: g.update({m["field"]: m["value"]})),
    (r"^(?P<field>spacing) must be (?P<value>sqrt), or", lambda g, m: g.update(spacing=m["value"])),
    (r"^(?P<field>label_percent) must hold (distinct percentages|whole numbers in \(0, 100\])", set_to((100,))),
    (r"^(?P<field>\w+) must hold one value per label_percent .*; leave it out", lambda g, m: g.pop(m["field"])),
    (r"^(?P<field>\w+) must hold one value per label_percent \((?P<p>[^)]*)\)",
     lambda g, m: g.update({m["field"]: (0.1,) * len([p for p in m["p"].split(",") if p])})),
    (r"^num_ssl_images \+ num_validation_images <= (?P<value>\d+) must hold", fit_split),
    (r"^(?P<field>num_ssl_images) <= (?P<value>\d+) must hold", set_number),
    (r"^(?P<field>num_validation_images) < \d+ must hold", set_to(10)),
    (r"^queue_from_epoch=\d+ needs a (?P<field>queue_size) above 0", set_to(1)),
]  # fmt: skip


def wrong_values(hint: Any, default: Any) -> Iterator[Any]:
    """Values that the type allows, and the component perhaps not."""
    if hint in WRONG:
        yield from WRONG[hint]
    elif get_origin(hint) is tuple:
        yield ()
        if isinstance(default, tuple) and default and not isinstance(default[0], str):
            yield from (default[::-1], default + default[:1], default[:1])
            yield from (tuple(-x for x in default), tuple(0 * x for x in default), tuple(1000 * x for x in default))
    elif get_origin(hint) in (types.UnionType, typing.Union):
        for kind in get_args(hint):
            yield from wrong_values(kind, default)


def allowed(hint: Any, value: Any) -> bool:
    try:
        adapter(hint, value).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("family", "name"), COMPONENTS)
def test_a_refusal_says_what_would_be_right(family: str, name: str) -> None:
    cls = registry.component(family, name)
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    needed = {
        f.name: 100 for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    for field in fields:
        for value in wrong_values(hints[field.name], field.default):
            if allowed(hints[field.name], value):
                given = {**needed, field.name: value}
                message = refusal(cls, given)
                if message is not None:
                    assert field.name in message or set(given) & set(re.findall(r"\w+", message))
                    assert taken(cls, given, message), f"{field.name}={value!r}: {message}"


def taken(cls: type[Any], given: Given, message: str) -> bool:
    """Whether the component is content once its advice has been taken; one piece may follow another."""
    for _ in range(3):
        found = next(((act, m) for pattern, act in ADVICE if (m := re.search(pattern, message))), None)
        assert found is not None, f"no way to follow: {message}"
        act, m = found
        act(given, m)
        again = refusal(cls, given)
        if again is None:
            return True
        message = again
    return False


def refusal(cls: type[Any], given: Given) -> str | None:
    try:
        cls(**given)
    except ValueError as error:
        return str(error)
    return None
