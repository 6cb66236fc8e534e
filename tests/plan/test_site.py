import pytest

from study.errors import PlanError, UserError
from study.plan.site import Site, load_site


def written(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_without_a_file_this_machine():
    assert load_site(None) == Site("local", None, 30.0)


def test_a_file(tmp_path):
    path = written(tmp_path, "executor: inline\nslots: 3\ncheckpoint_every_s: 1e1\n")
    assert load_site(path) == Site("inline", 3, 10.0)


def test_slots_may_be_left_to_the_machine(tmp_path):
    assert load_site(written(tmp_path, "slots: null")).slots is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("executer: local", ("'executer'", "Did you mean 'executor'?")),
        ("executor: slrm", ("'slrm'", "Known: inline, local")),
        ("executor: [local]", ("['local']",)),
        ("executor:", ("None",)),
        ("slots: 0", ("slots: must be a whole number above 0, but got 0",)),
        ("slots: 1.5", ("whole number",)),
        ("slots: true", ("whole number",)),
        ("slots: many", ("'many'",)),
        ("checkpoint_every_s:", ("checkpoint_every_s: must be a number of seconds above 0, but got None",)),
        ("checkpoint_every_s: .nan", ("nan",)),
        ("checkpoint_every_s: .inf", ("inf",)),
        ("checkpoint_every_s: -1", ("-1",)),
        ("5: 1", ("unknown key 5",)),
        ("slots: 1\nslots: 2", ("line 2", "'slots' stands here again")),
        ("", ("is empty", "slurm/README.md")),
        ("- local", ("['local']",)),
        ("executor: !!python/name:os.system", ("is refused",)),
    ],
)
def test_wrong_files(tmp_path, text, parts):
    path = written(tmp_path, text)
    with pytest.raises(PlanError) as caught:
        load_site(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_all_problems_at_once(tmp_path):
    with pytest.raises(PlanError, match="4 problems"):
        load_site(written(tmp_path, "executor: x\nslots: x\ncheckpoint_every_s: x\nx: x\n"))


@pytest.mark.parametrize("case", ["missing", "folder", "binary"])
def test_files_that_cannot_be_read(tmp_path, case):
    path = {"missing": tmp_path / "no.yaml", "folder": tmp_path}.get(case) or written(tmp_path, b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"cannot read the site file .* that \$STUDY_SITE names: .*; slurm/README.md"):
        load_site(path, "$STUDY_SITE")
