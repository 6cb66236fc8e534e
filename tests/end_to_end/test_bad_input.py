"""Every mistake of a user gets one clear message and exit code 2: what, the value, where, and what to type next."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.cli import main, run_sweep
from study.journal.files import read_json, write_json
from study.orchestration.actions import check_plan, store_plan
from study.paths import HomePaths
from study.plan.load import load_plan, load_plans
from tests.fakes.mounts import mounted
from tests.fakes.sweep_file import TEXT, edited

ROOT = Path(__file__).parents[2]
NOT_HERE = {"STUDY_HOME", "STUDY_SITE", "STUDY_DATA"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NOT_HERE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a sweep in this process and returns the message with which it is refused."""

    def run(text: str | bytes, *arguments: str, home: Path | None = None) -> str:
        sweep = tmp_path / "sweep.yaml"
        sweep.write_bytes(text if isinstance(text, bytes) else text.encode())
        return message_of(run_sweep, str(sweep), *arguments, "--home", str(home or tmp_path / "home"))

    def message_of(command, *arguments: str) -> str:
        try:
            code = command(list(arguments))
        except SystemExit as error:  # argparse
            code = error.code
        printed = capsys.readouterr()
        assert code == 2, printed.err
        assert "error: " in printed.err
        assert "Traceback" not in printed.err
        return printed.err

    run.message_of = message_of
    return run


def in_a_process(
    *arguments: str | Path, limit_bytes: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The real command; `limit_bytes` limits the size of every file that it writes."""

    def limit() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    kept = {name: value for name, value in os.environ.items() if name not in NOT_HERE}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL, preexec_fn=limit, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("", ("is empty", "sweeps/ablation.yaml"), id="empty"),
        pytest.param("study: [", ("line 1", "not readable as YAML"), id="not YAML"),
        pytest.param(b"\x7fELF\x02\x01\x00", ("not allowed in text",), id="binary"),
        pytest.param(b"\xff\xfe\x00\xd8", ("not a sweep file", "not UTF-8 text"), id="another encoding"),
        pytest.param("study: !!python/object/apply:os.system [touch x]", ("is refused", "runs no code"), id="code"),
        pytest.param(TEXT.replace("arms:", "amrs:"), ("arms: is missing; is 'amrs' meant?",), id="unknown key"),
        pytest.param(edited(base__epochs="many"), ("base.epochs", "'many'", "whole number"), id="wrong type"),
        pytest.param(edited(arms__e2mc__criterion="emc"), ("'emc'", "Did you mean 'e2mc'?"), id="unknown criterion"),
        pytest.param(TEXT.replace("uniformity:", "e2mc:"), ("line 10: 'e2mc' stands here again",), id="duplicate arms"),
        pytest.param(
            edited(arms__e2mc={"criterion": "e2mc", "space": {"tau": {"low": 1, "high": 2}}}),
            ("arms.e2mc.space.tau", "no field 'tau' to tune", "Known: ", "covariance_weight"),
            id="unknown tuned parameter",
        ),
        pytest.param(edited(confirm__base_seeds=[]), ("confirm.base_seeds", "at least 1"), id="no seeds"),
        pytest.param(edited(tune__base_seeds=[3]), ("share base seeds [3]", "take other seeds"), id="shared seed"),
        pytest.param(edited(contrasts=[["e2mc", "bas"]]), ("contrasts[0]", "Did you mean 'base'?"), id="contrast"),
    ],
)
def test_wrong_sweep_files(refused, tmp_path, text, parts):
    message = refused(text)
    for part in ("sweep.yaml", *parts):
        assert part in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep.yaml"], "nothing was begun"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("base.epoch=3",), ("override base.epoch", "Did you mean 'epochs'?")),
        (("base.epochs=x", "--dry-run"), ("base.epochs: must be a whole number, but got 'x' (override base.epochs)",)),
        (("--dry-run", "nonsense"), ("'nonsense'", "key=value")),
        (("--slots", "0"), ("--slots", "whole number above 0", "'0'")),
        (("--slots", "many"), ("--slots", "'many'")),
        (("--slots", "²"), ("--slots", "'²'")),
        (("--site", "nowhere.yaml"), ("nowhere.yaml", "--site", "No such file", "slurm/README.md")),
        (("--site", "."), ("--site", "directory")),
        (("--site", "sweep.yaml", "--dry-run"), ("unknown key 'study'", "Known: checkpoint_every_s")),
        (("--hom", "x", "--what"), ("--what",)),
        (("--images-per-second", "100"), ("--images-per-second belongs to --dry-run",)),
        (("--dry-run", "--freeze", "x"), ("give one of them",)),
        (("--dry-run", "--max-hours", "1"), ("--max-hours would change nothing with --dry-run",)),
        (("--freeze", "x", "--fresh", "--slots", "2"), ("--fresh and --slots would change nothing with --freeze",)),
    ],
)
def test_wrong_arguments(refused, arguments, parts):
    message = refused(TEXT, *arguments)
    for part in parts:
        assert part in message


def test_a_site_of_the_environment_is_named(refused, monkeypatch):
    monkeypatch.setenv("STUDY_SITE", "~no-such-user/site.yaml")
    assert "~no-such-user/site.yaml that $STUDY_SITE names" in refused(TEXT)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("sweeps/ablatoin.yaml", ("no sweep file 'sweeps/ablatoin.yaml'", "Did you mean 'sweeps/ablation.yaml'?")),
        ("sweeps", ("sweeps is a folder", "ablation.yaml")),
        ("base.epochs=3", ("stands where the sweep file should", "SWEEP [key=value ...]")),
        ("x" * 5000, ("no sweep file",)),
    ],
)
def test_sweep_files_that_are_not_there(refused, given, parts):
    message = refused.message_of(run_sweep, given)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("report", "x", "--out", "y"), "--out belongs to --from"),
        (("report", "x", "--from", "sqlite:///y", "--no-publish"), "--no-publish has no use with --from"),
    ],
)
def test_options_without_use(refused, arguments, message):
    assert message in refused.message_of(main, *arguments)


@pytest.mark.parametrize("command", ["status", "publish", "report", "stop", "redo", "code"])
def test_an_unknown_study(refused, tmp_path, command):
    store_plan_of(HomePaths(tmp_path / "home"))
    message = refused.message_of(main, command, "exampel", "--home", str(tmp_path / "home"))
    assert f"no study 'exampel' in {tmp_path / 'home'}. Did you mean 'example'? Known: example." in message
    assert "run_sweep.py" in message


def test_a_stored_plan_that_is_damaged_or_of_another_version(refused, tmp_path):
    study = store_plan_of(HomePaths(tmp_path / "home"))
    arguments = ("status", "example", "--home", str(tmp_path / "home"))
    write_json(study.plan, {**read_json(study.plan), "schema_version": 99})
    assert "has schema version 99" in refused.message_of(main, *arguments)
    study.plan.write_text("{")
    assert f"{study.plan} is damaged" in refused.message_of(main, *arguments)


def test_data_that_are_not_where_the_user_says(refused, monkeypatch):
    monkeypatch.setenv("STUDY_DATA", "/nonexistent")
    message = refused(TEXT)
    assert (
        "STUDY_DATA=/nonexistent is not a folder; set it to the folder that holds the dataset, or unset it" in message
    )


@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_damaged_data_are_found_before_anything_is_trained(refused, tmp_path, monkeypatch, damage):
    folder = tmp_path / "data" / "fashion-mnist"
    folder.mkdir(parents=True)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        header = struct.pack(">4I", 0x803, count, 28, 28) if damage == "truncated" else b"<html>not found</html>"
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(1000))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + bytes(count))
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "data"))
    message = refused(TEXT)
    assert f"STUDY_DATA={tmp_path / 'data'}" in message
    assert f"{folder / 'train-images-idx3-ubyte'}: " in message
    expected = (
        "truncated: expected 47040016 bytes, found 1016; fetch" if damage == "truncated" else "not the expected IDX"
    )
    assert expected in message
    assert not list((tmp_path / "home").glob("*/runs/*"))
    assert not (tmp_path / "home" / "example" / "lease").exists(), "the next start is not held up"


def test_a_study_folder_that_belongs_to_another_plan(refused, tmp_path):
    study = store_plan_of(HomePaths(tmp_path / "home"))
    run = study.run("e2mc-b1-c1-0123456789ab")
    run.root.mkdir(parents=True)
    for file in (run.spec, run.trained):
        write_json(file, {})
    before = study.plan.read_bytes(), study.plan_yaml.read_bytes()
    for arguments in ((), ("--dry-run",)):
        message = refused(TEXT, "continuation.epochs=3", "arms.e2mc.map=sigmoid", *arguments)
        assert f"{study.root} belongs to another plan of the same name" in message
        assert "-continuation.epochs = 2" in message
        assert "+continuation.epochs = 3" in message
        assert '+arms[e2mc].criterion.params.map = "sigmoid"' in message
        assert "dataset" not in message, "only what differs"
        assert "study=example-2" in message
        assert "--home" in message
    assert (study.plan.read_bytes(), study.plan_yaml.read_bytes()) == before


def test_a_plan_may_gain_evaluations_and_nothing_else(tmp_path):
    study = store_plan_of(HomePaths(tmp_path / "home"), "evaluations={linear_probe: {label_percent: [1, 10, 100]}}")
    check_plan(study, load_plan(TEXT, "sweep.yaml"))


@pytest.mark.parametrize("name", ["a file", "a file/below it", "größe [x] y"])
def test_a_home_that_is_none(refused, tmp_path, name):
    (tmp_path / "a file").write_text("")
    home = tmp_path / name
    if not name.startswith("a file"):
        home.mkdir()
        (home / "example").write_text("where the study's folder should be")
    message = refused(TEXT, home=home)
    assert f"cannot create {home / 'example'}: " in message
    assert "--home DIR" in message


def test_a_read_only_home(refused, tmp_path):
    with read_only_folder(tmp_path / "mounted") as home:
        message = refused(TEXT, home=home)
    assert str(home) in message
    assert "--home DIR" in message


def test_a_disk_that_fills_up(tmp_path):
    """A limit on the size of files: nothing can be written, though there seemed to be room."""
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(TEXT)
    home = tmp_path / "small"
    result = in_a_process(ROOT / "study" / "run_sweep.py", sweep, "--home", home, limit_bytes=0)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert f"error: cannot write {home}" in result.stderr
    assert "--home DIR" in result.stderr, "there is no study yet that another home would lose"


def test_a_disk_that_is_too_small(refused, tmp_path):
    """Seen before anything is written."""
    with mounted(tmp_path / "small", "size=1m") as is_mounted:
        if not is_mounted:
            pytest.skip("nothing may be mounted here")
        for arguments in ((), ("--dry-run",)):
            message = refused(TEXT, *arguments, home=tmp_path / "small" / "home")
            assert f"no space left for {tmp_path / 'small' / 'home'}: at least " in message
            assert " needed, 1 MB free; make room" in message
            assert "--home DIR" in message
        assert not list((tmp_path / "small").iterdir())


def test_the_commands_themselves(tmp_path):
    """From another folder, as a user types them."""
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(TEXT.replace("e2mc, start", "e2cm, start").replace("epochs: 20", "epochs: 0"))
    home = ("--home", tmp_path / "home")
    result = in_a_process(ROOT / "study" / "run_sweep.py", sweep, "confirm.base_seeds=[101]", *home)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == f"error: {sweep} with confirm.base_seeds=[101]: 3 problems"
    assert "Did you mean 'e2mc'?" in result.stderr
    assert "Traceback" not in result.stderr
    result = in_a_process("-m", "study", "status", "nobody", *home)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no study 'nobody' in ")
    assert len(result.stderr.splitlines()) == 1


def store_plan_of(home, *overrides):
    """A study whose plan is stored and nothing else."""
    plan = load_plan(TEXT, "sweep.yaml", overrides)
    study = home.study(plan.study)
    study.root.mkdir(parents=True)
    store_plan(study, plan, TEXT)
    return study


@contextmanager
def read_only_folder(folder: Path) -> Iterator[Path]:
    """A folder that nobody can write to, root included: a read-only file system, or else one of the kernel's."""
    with mounted(folder, "size=64k,ro") as is_mounted:
        yield folder if is_mounted else Path("/proc/studies")


def test_a_frozen_file_is_not_overwritten(tmp_path, capsys, refused):
    sweep, folder = tmp_path / "sweep.yaml", tmp_path / "frozen"
    sweep.write_text(TEXT)
    assert run_sweep([str(sweep), "--freeze", str(folder)]) == 0
    (file,) = folder.iterdir()
    assert load_plan(file.read_text(), file.name) == load_plan(TEXT, "example")
    capsys.readouterr()
    assert f"{file}: there already; move it away" in refused(TEXT, "--freeze", str(folder))
    blocked = tmp_path / "a file"
    blocked.touch()
    assert f"cannot write into {blocked}" in refused(TEXT, "--freeze", str(blocked))


def test_names_that_tables_cannot_hold(refused, tmp_path, capsys):
    """They are refused, unless the study was begun when they still were allowed; a frozen file of it opens, too."""
    bad = (
        TEXT.replace("uniformity:", '"1e3":')
        .replace("study: example", "study: nan")
        .replace("knn: {}", "null: {evaluation: knn}")
    )
    message = refused(bad, "--dry-run")
    assert "study: 'nan' reads as a missing value in tables; write e.g. study-nan" in message
    assert "arms.1e3: '1e3' reads as a number in tables; write e.g. arm-1e3" in message
    assert "evaluations.null: 'null' reads as a missing value in tables; write e.g. evaluation-null" in message
    home = HomePaths(tmp_path / "home")
    study = home.study("nan")
    study.root.mkdir(parents=True)
    (plan,) = load_plans(bad, "sweep.yaml", (), lambda _: {"nan", "1e3", "null"})
    store_plan(study, plan, bad)
    sweep = tmp_path / "sweep.yaml"
    for options in (("--dry-run", "--images-per-second", "1000"), ("--freeze", str(tmp_path / "frozen"))):
        assert run_sweep([str(sweep), "--home", str(home.root), *options]) == 0
    frozen = (tmp_path / "frozen" / "nan.yaml").read_text()
    assert load_plans(frozen, "frozen", (), lambda _: {"nan", "1e3", "null"}) == [plan]
    assert main(["status", "nan", "--home", str(home.root)]) == 0
    assert "nan: idle" in capsys.readouterr().out
