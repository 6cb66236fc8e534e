from datetime import date

import pytest

from study.errors import PlanError
from study.plan.yaml_text import parse, parse_scalar


def read(text):
    problems = []
    return parse(text, "file.yaml", problems), [str(problem) for problem in problems]


def refusal(text):
    with pytest.raises(PlanError) as caught:
        parse(text, "file.yaml", [])
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+3", 1000.0),
        ("-2.5e-2", -0.025),
        (".5", 0.5),
        ("1.", 1.0),
        ("1_000.5", 1000.5),
        ("5", 5),
        ("-7", -7),
        ("10_000", 10_000),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("", None),
    ],
)
def test_numbers_and_constants(text, value):
    read_value = parse_scalar(text)
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize("text", ["no", "on", "yes", "12:30", "0x1F", "2024-12-01", "1e", "e3", "none", "1.2.3"])
def test_what_looks_like_a_value_in_old_yaml_is_text(text):
    assert parse_scalar(text) == text
    assert parse_scalar(text) != date(2024, 12, 1)


def test_infinity_and_nan_are_read_and_left_to_the_schema():
    assert parse_scalar("-.inf") == float("-inf")
    assert parse_scalar(".nan") != parse_scalar(".nan")


def test_a_key_that_stands_twice_is_reported_with_both_lines_and_the_first_value_counts():
    data, problems = read("a: 1\narms:\n  x: {c: 1}\n  y: {c: 2}\n  x: {c: 3}\na: 2\n")
    assert data == {"a": 1, "arms": {"x": {"c": 1}, "y": {"c": 2}}}
    assert problems == [
        "line 5: 'x' stands here again, first on line 3; keep one",
        "line 6: 'a' stands here again, first on line 1; keep one",
    ]


def test_merge_keys_may_be_overridden():
    data, problems = read("x: &x {a: 1, b: 2}\nouter: {y: &y {<<: *x, a: 3}}\nz: {<<: *y}\n")
    assert data["outer"]["y"] == data["z"] == {"a": 3, "b": 2}
    assert not problems


def test_of_several_merged_mappings_the_first_counts():
    data, problems = read("x: &x {weight: 1}\ny: &y {weight: 2, kernel_scale: 3}\nz: {<<: [*x, *y]}\n")
    assert data["z"] == {"weight": 1, "kernel_scale": 3}
    assert not problems


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: [1,", ("file.yaml: 1 problem", "line 1, column 7", "not readable as YAML")),
        ("a:\n\tb: 1", ("line 2, column 1", r"'\t'", "indent with spaces")),
        ("a: 1\n---\nb: 2", ("line 2", "another document")),
        ("a: {<<: [{b: 1}, c]}", ("line 1, column 18", "<< merges mappings, but got 'c'")),
        ("", ("mapping", "is empty", "sweeps/ablation.yaml")),
        ("# only a comment\n", ("is empty",)),
        ("- a\n- b", ("mapping of keys to values", "['a', 'b']")),
        ("just text", ("'just text'",)),
        ("a: \x00", ("line 1", r"'\x00'", "not allowed in text")),
        ("\x01\x02", (r"'\x01'",)),
        ("a: &a {b: *a}", ("recursive",)),
        ("[" * 600, ("nested too deeply",)),
        ("? [a]\n: 1", ("line 1", "unhashable")),
        ("<<: 5", ("<< merges mappings, but got '5'",)),
        ("a: !!int five", ("'five' is no int",)),
        ("a: !!bool five", ("'five' is no bool",)),
        ("a: *unknown", ("undefined alias 'unknown'",)),
    ],
)
def test_unreadable_text_is_one_clear_problem(text, parts):
    message = refusal(text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch executed]",
        "!!python/object/new:os.system [touch executed]",
        "!!python/name:os.system",
        "!!binary aGVsbG8=",
        "!!timestamp 2024-12-01",
        "!!set {a, b}",
        "!mine 5",
    ],
)
def test_tags_run_nothing(tag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal(f"study: {tag}")
    assert f"the tag {tag.split()[0]} is refused" in message
    assert "line 1, column 8" in message
    with pytest.raises(ValueError, match="is refused"):
        parse_scalar(tag)
    assert not list(tmp_path.iterdir())


def test_duplicates_found_before_the_text_breaks_are_reported_with_the_break():
    message = refusal("x: {a: 1, a: 2}\nb: [")
    assert "2 problems" in message
    assert "'a' stands here again" in message


def test_an_override_value_may_not_hold_a_key_twice():
    with pytest.raises(ValueError, match="'a' stands here again"):
        parse_scalar("{a: 1, a: 2}")
