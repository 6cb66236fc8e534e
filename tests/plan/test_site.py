from dataclasses import replace
from pathlib import Path

import pytest

from study.errors import PlanError, UserError
from study.plan.site import Mode, Resources, Site, Slurm, load_site
from study.plan.site_values import minutes_of

EXAMPLES = sorted((Path(__file__).parents[2] / "slurm").glob("*.yaml"))
SLURM_FILE = """
executor: slurm
slots: 12
home: ~/studies
partition: gpu,long
account: "12"
qos: null
gpus: 2
gpu_type: a100
cpus: 8
memory_gb: 32.5
time_min: 240
constraint: ib&big
exclude: [node1, "node[3-4]"]
phases: {prepare: {time_min: 600, gpus: 4}, confirm: {partition: short, account: null}}
setup: [module load cuda, 'source "$HOME/venv/bin/activate"']
python: apptainer exec --nv image.sif python
environment: {OMP_NUM_THREADS: 2, WHERE: /scratch/a b, EMPTY: ""}
mode: workers
runs_per_job: 4
idle_s: 10
poll_s: 0.5
warning_s: 60
max_jobs: 3
"""


def written(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_without_a_file_this_machine():
    assert load_site(None) == Site("local", None, 30.0)


def test_a_file(tmp_path):
    path = written(
        tmp_path,
        "executor: inline\nslots: 3\ncheckpoint_every_s: 1e1\nlog_every: 5\nhang_patience_s: 60\nquiet_patience_s: 90",
    )
    assert load_site(path) == Site("inline", 3, 10.0, log_every=5, hang_patience_s=60, quiet_patience_s=90)


def test_slots_may_be_left_to_the_machine(tmp_path):
    assert load_site(written(tmp_path, "slots: null")).slots is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("executer: local", ("'executer'", "Did you mean 'executor'?")),
        ("executor: slrm", ("'slrm'", "Did you mean 'slurm'?", "Known: inline, local, slurm")),
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
        ("log_every: 0", ("log_every: must be a whole number above 0, but got 0",)),
        ("5: 1", ("unknown key '5'",)),
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


def test_everything_that_slurm_may_be_told(tmp_path):
    default = Resources(
        partition="gpu,long", account="12", gpus=2, gpu_type="a100", cpus=8, memory_gb=32.5, time_min=240,
        constraint="ib&big", exclude=("node1", "node[3-4]"),
    )  # fmt: skip
    slurm = Slurm(
        resources=default,
        phases={
            "prepare": replace(default, time_min=600, gpus=4),
            "confirm": replace(default, partition="short", account=None),
        },
        setup=("module load cuda", 'source "$HOME/venv/bin/activate"'),
        python="apptainer exec --nv image.sif python",
        environment={"OMP_NUM_THREADS": "2", "WHERE": "/scratch/a b", "EMPTY": ""},
        mode=Mode.WORKERS, runs_per_job=4, idle_s=10, poll_s=0.5, warning_s=60, max_jobs=3,
    )  # fmt: skip
    assert load_site(written(tmp_path, SLURM_FILE)) == Site("slurm", 12, 30.0, "~/studies", slurm)


def test_values_of_variables_are_taken_as_they_are_written(tmp_path):
    text = "executor: slurm\nenvironment: {A: 1.10, B: 010, C: 1e3, D: '7', E: 1_0, F: ''}\n"
    expected = {"A": "1.10", "B": "010", "C": "1e3", "D": "7", "E": "1_0", "F": ""}
    assert load_site(written(tmp_path, text)).slurm.environment == expected


def test_a_type_of_gpus_may_be_of_some_phases_alone(tmp_path):
    text = "executor: slurm\ngpu_type: a100\nphases: {tune: {gpus: 1}, confirm: {gpus: 2, gpu_type: h100}}\n"
    requests = load_site(written(tmp_path, text)).slurm.requests
    assert [(r.gpus, r.gpu_type) for r in requests.values()] == [(0, "a100"), (1, "a100"), (2, "h100")]


def test_memory_is_asked_for_in_whole_megabytes():
    assert [Resources(memory_gb=gb).memory_mb for gb in (None, 0.001, 0.15, 1, 7.8125)] == [None, 2, 154, 1024, 8000]


def test_slurm_needs_no_more_than_its_name(tmp_path):
    site = load_site(written(tmp_path, "executor: slurm"))
    assert (site.slots, site.slurm) == (8, Slurm())
    assert site.slurm.requests == {"": Resources()}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_right(example):
    assert load_site(example).slots


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("partition: a b", ("partition: must be text without spaces",)),
        ("account: 12", ("account: must be text, but got 12; write it in quotes",)),
        ("qos: true", ("write it in quotes",)),
        ("qos: ''", ("qos: must be text, but is empty",)),
        ('python: "a\\nb"', ("python: must be text on one line",)),
        ("gpus: -1", ("gpus: must be a whole number of at least 0, but got -1",)),
        ("cpus: 0", ("cpus: must be a whole number above 0",)),
        ("memory_gb: 32G", ("memory_gb: must be a number of gigabytes above 0, but got '32G'; write 32",)),
        ("time_min: 1-12:00:00", ("time_min: must be a number of minutes above 0, but got '1-12:00:00'; write 2160",)),
        ("memory_gb: 0.0004", ("memory_gb: must lie between 0.001 (1 MB) and", "but got 0.0004")),
        ("memory_gb: 1.0e+300", ("memory_gb: must lie between",)),
        (
            "time_min: 2.5",
            ("time_min: must be a whole number of minutes, because SLURM knows no parts of them; write 3",),
        ),
        ("time_min: 1.0e+9", ("time_min: must be at most 10000000 minutes",)),
        ("warning_s: 0.4", ("warning_s: must be a whole number of seconds", "write 1")),
        ("warning_s: 70000\ntime_min: 5000", ("warning_s: must be at most 65535 seconds",)),
        ("setup: ['#SBATCH --mem=1T']", ("setup: [0] must be a shell line", "would be taken for an option of sbatch")),
        ("hang_patience_s: 0", ("hang_patience_s: must be a number of seconds above 0",)),
        ("quiet_patience_s: x", ("quiet_patience_s: must be a number of seconds above 0",)),
        ("phases: {tune: {gpu_type: a100}}", ("phases.tune.gpu_type: 'a100' says which GPUs, but not how many",)),
        ("gpu_type: a100", ("gpu_type: 'a100' says which GPUs, but not how many; write `gpus: 1`",)),
        ("exclude: node1", ("exclude: must be a list such as [node1, node2], but got 'node1'",)),
        ("exclude: [node1, 3]", ("exclude: [1] must be text, but got 3",)),
        ("setup: module load", ("setup: must be a list such as ['module load cuda']",)),
        ("environment: [A]", ("environment: must be a mapping such as {OMP_NUM_THREADS: 4}",)),
        ("environment: {A-B: x, C: [1]}", ("'A-B' is no name of a variable", "C must be text")),
        ("environment: {PYTHONPATH: x}", ("PYTHONPATH says where jobs find the framework",)),
        ("mode: job", ("no mode 'job'. Did you mean 'jobs'?",)),
        (
            "nodes: 2\nprocesses_per_run: 2",
            ("nodes: 2 machines for one run need a job of their own; write `mode: jobs`",),
        ),
        ("mode: jobs\nnodes: 2", ("nodes: 1 process per run cannot be spread evenly over 2 machines",)),
        (
            "mode: jobs\nprocesses_per_run: 8\ngpus: 4\nphases: {tune: {nodes: 3}}",
            (
                "phases.tune.nodes: 8 processes per run cannot be spread evenly over 3 machines",
                "write e.g. `processes_per_run: 12`",
            ),
        ),
        ("mode: jobs\nruns_per_job: 2", ("runs_per_job: in mode 'jobs' every run is a job of its own",)),
        ("runs_per_job: 2", ("runs_per_job: 2 runs side by side", "but cpus is 1; write `cpus: 2` or more")),
        ("runs_per_job: 4\ncpus: 8\nphases: {tune: {cpus: 2}}", ("but phases.tune.cpus is 2",)),
        ("warning_s: 1800", ("warning_s: must be below half of the time limit (time_min: 60, so 1800 s)",)),
        ("phases: {tune: {time_min: 4}}", ("warning_s: must be below", "phases.tune.time_min: 4, so 120 s")),
        ("phases: [tune]", ("phases: must be a mapping such as {prepare: {time_min: 600}}",)),
        ("phases: {tuning: {}}", ("phases.tuning: no phase 'tuning'. Did you mean 'tune'?",)),
        ("phases: {tune: 3}", ("phases.tune: must be a mapping such as {time_min: 600}",)),
        ("phases: {tune: {cpu: 3}}", ("phases.tune.cpu: unknown key 'cpu'. Did you mean 'cpus'?",)),
        ("phases: {tune: {slots: 3}}", ("phases.tune.slots: holds for all phases; write it at the top level",)),
        ("phase: {}", ("unknown key 'phase'. Did you mean 'phases'?",)),
    ],
)
def test_wrong_files_for_slurm(tmp_path, text, parts):
    with pytest.raises(PlanError) as caught:
        load_site(written(tmp_path, f"executor: slurm\n{text}"))
    assert len(caught.value.problems) == 1
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_keys_of_slurm_are_for_slurm(tmp_path, executor):
    text = f"executor: {executor}\npartition: gpu\nphases: {{}}\npoll_s: 3"
    with pytest.raises(PlanError, match=f"the executor is '{executor}'; write `executor: slurm`") as caught:
        load_site(written(tmp_path, text))
    assert [problem.path for problem in caught.value.problems] == ["partition", "phases", "poll_s"]


def test_one_mistake_is_one_problem(tmp_path):
    """Values that are wrong by themselves raise no doubts about others."""
    with pytest.raises(PlanError, match="3 problems"):
        load_site(written(tmp_path, "executor: slurm\ntime_min: x\nwarning_s: 7200\ncpus: x\nruns_per_job: 9\ngpus: x"))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("90:30", 90.5), ("1:30:00", 90), ("2-00", 2880), ("2-12:30", 3630), ("1-00:00:30", 1440.5),
        ("UNLIMITED", None), ("", None), ("1:2:3:4", None),
    ],
)  # fmt: skip
def test_durations_as_slurm_writes_them(text, minutes):
    assert minutes_of(text) == minutes
