import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from study.cli import main
from study.errors import PlanError, UserError
from study.execution.slurm.cluster import parse_gpus, read_cluster
from study.execution.slurm.fit import expand_nodes, fitting_nodes
from study.execution.slurm.offer import Association, Cluster, Limits, Node, Partition
from study.execution.slurm.proposal import propose_site
from study.execution.slurm.validation import check_site, require_valid
from study.plan.site import Mode, Resources, Site, Slurm, load_site

HOME = Path("/shared/studies")
# Recorded from SLURM 22.05.8, shortened.
CONFIG = """Configuration data as of 2026-11-25T07:25:05
AccountingStorageEnforce = associations,limits,qos
ClusterName             = onemachine
DefMemPerCPU            = 500
MaxArraySize            = 101
MaxJobCount             = 10000
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
SLURM_VERSION           = 22.05.8

Cgroup Support Configuration:
(null)

Slurmctld(primary) at vm is UP
"""
PARTITIONS = """\
PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A DefaultTime=NONE \
MaxNodes=UNLIMITED MaxTime=1-00:00:00 MinNodes=0 Nodes=node[1-2] PriorityTier=1 State=UP TotalCPUs=8 JobDefaults=(null)
PartitionName=high AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=NO QoS=tiny DefaultTime=NONE \
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 Nodes=node[1-3] PriorityTier=10 State=UP TotalCPUs=10 JobDefaults=(null)
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=normal AllocNodes=ALL Default=NO QoS=N/A \
DefaultTime=00:10:00 MaxNodes=UNLIMITED MaxTime=01:00:00 MinNodes=0 Nodes=node3 State=UP TotalCPUs=2 JobDefaults=(null)
PartitionName=off AllowGroups=ALL AllowAccounts=ALL DenyQos=long AllocNodes=ALL Default=NO QoS=N/A DefaultTime=NONE \
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 Nodes=node3 State=DOWN TotalCPUs=2 JobDefaults=(null)
PartitionName=vip AllowGroups=ALL AllowAccounts=vip AllowQos=ALL AllocNodes=ALL Default=NO QoS=N/A DefaultTime=NONE \
MaxNodes=UNLIMITED MaxTime=UNLIMITED MinNodes=0 Nodes=node[1-3] State=UP TotalCPUs=10 JobDefaults=(null)
"""
NODES = """\
node1|gpu*|4|8000|gpu:a100:2(S:0-1)|ib,amd|idle
node1|high|4|8000|gpu:a100:2(S:0-1)|ib,amd|idle
node1|vip|4|8000|gpu:a100:2(S:0-1)|ib,amd|idle
node2|gpu*|4|8000|gpu:v100:1|intel|drained*
node2|high|4|8000|gpu:v100:1|intel|drained*
node2|vip|4|8000|gpu:v100:1|intel|drained*
node3|high|2|4000|(null)|(null)|mixed
node3|cpu|2|4000|(null)|(null)|mixed
node3|off|2|4000|(null)|(null)|mixed
node3|vip|2|4000|(null)|(null)|mixed
"""
ASSOCIATIONS = "small|cpu|normal||9||\nlab||long,normal|normal|20|10|\n"
QOS = "normal|||\nlong|7|5|2-00:00:00\ntiny|2||\n"


class FakeCluster:
    """Programs that print what SLURM's printed; `PATH` holds no others."""

    def __init__(self, folder, monkeypatch):
        self._folder, self._cat = folder, shutil.which("cat")
        self.config, self.accounting_fails, self.submission = CONFIG, False, ("Job 7 to start at noon", 0)
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))
        self.install()

    def install(self):
        self._program(
            "scontrol", {"show config*": (self.config, 0), "show partition*": (PARTITIONS, 0)}, (self.config, 1)
        )
        self._program("sinfo", {"*": (NODES, 0)})
        answers = {"* show assoc *": (ASSOCIATIONS, 0), "* show qos *": (QOS, 0), "* show user *": ("lab\n", 0)}
        self._program("sacctmgr", {} if self.accounting_fails else answers, ("no database", 1))
        message, code = self.submission
        self._script("sbatch", f"echo sbatch: {shlex.quote(message)} >&2; exit {code}")

    def _program(self, name, answers, otherwise=("", 1)):
        lines = ['case "$*" in']
        for pattern, (text, code) in {**answers, "*": answers.get("*", otherwise)}.items():
            output = self._folder / f"{name}-{len(lines)}.txt"
            output.write_text(text)
            lines.append(
                f"{pattern.replace(' ', chr(92) + ' ')}) {self._cat} {shlex.quote(str(output))}; exit {code};;"
            )
        self._script(name, "\n".join([*lines, "esac"]))

    def _script(self, name, text):
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    return FakeCluster(tmp_path / "bin", monkeypatch)


@pytest.fixture
def cluster(commands):
    return read_cluster()


def site_of(slots=1, **settings):
    slurm = {key: settings.pop(key) for key in list(settings) if key not in Resources.__dataclass_fields__}
    return Site("slurm", slots, slurm=Slurm(Resources(**settings), **slurm))


def problems_of(cluster, **settings):
    return [str(problem) for problem in check_site(site_of(**settings), cluster)]


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu:2", {"": 2}),
        ("gpu", {"": 1}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:4(S:0,2-3),shard:8", {"a100": 4}),
        ("gpu:a100:2,gpu:v100:1,tmpdisk:100", {"a100": 2, "v100": 1}),
        ("gpu:1g.5gb:7", {"1g.5gb": 7}),
        ("gpu:2080ti:4", {"2080ti": 4}),
        ("lustre:1", {}),
    ],
)
def test_gres(gres, gpus):
    assert parse_gpus(gres) == gpus


def test_a_cluster_is_read(cluster):
    assert (cluster.name, cluster.version, cluster.max_array_size) == ("onemachine", "22.05.8", 101)
    assert cluster.preempt_mode == "REQUEUE"
    gpu, high, cpu, off, vip = cluster.partitions
    assert cluster.default_partition is gpu
    assert [partition.max_time_min for partition in cluster.partitions] == [1440, None, 60, None, None]
    assert [partition.is_up for partition in cluster.partitions] == [True, True, True, False, True]
    assert gpu.nodes == (
        Node("node1", 4, 8000, {"a100": 2}, frozenset({"ib", "amd"}), "idle"),
        Node("node2", 4, 8000, {"v100": 1}, frozenset({"intel"}), "drained*"),
    )
    assert [node.is_up for node in high.nodes] == [True, False, True]
    assert (cpu.qos.admits("normal"), cpu.qos.admits("long"), cpu.qos.admits(None)) == (True, False, True)
    assert (off.qos.admits("normal"), off.qos.admits("long")) == (True, False)
    assert (vip.accounts.admits("lab"), vip.accounts.admits("vip")) == (False, True)
    assert cluster.default_account == "lab"
    assert cluster.associations == (
        Association("small", "cpu", ("normal",), None, Limits(9)),
        Association("lab", None, ("long", "normal"), "normal", Limits(20, 10)),
    )


def test_limits_come_from_the_partition_then_the_qos_then_the_account(cluster):
    assert cluster.submit_limit(Resources()) == 20
    assert cluster.submit_limit(Resources(qos="long")) == 7
    assert cluster.submit_limit(Resources(qos="long", partition="high")) == 2
    assert cluster.submit_limit(Resources(account="small", partition="cpu")) == 9
    assert cluster.submit_limit(Resources(partition="gpu,high")) == 2


def test_a_silent_accounting_is_no_error(commands):
    commands.accounting_fails = True
    commands.install()
    cluster = read_cluster()
    assert (cluster.associations, cluster.qos, cluster.default_account) == (None, None, None)
    assert problems_of(cluster, slots=1000, account="anybody", qos="any") == []


def test_limits_that_are_not_enforced_do_not_count(commands):
    commands.config = CONFIG.replace("associations,limits,qos", "none").replace(
        "preempt/partition_prio", "preempt/none"
    )
    commands.install()
    cluster = read_cluster()
    assert (cluster.associations, cluster.qos, cluster.preempt_mode) == (None, None, "OFF")


def test_no_scheduler(commands, tmp_path):
    commands.config = ""
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert read_cluster() is None
    with pytest.raises(UserError, match=r"site.yaml needs SLURM, but no scheduler answers; `scontrol ping`"):
        require_valid(site_of(), tmp_path / "site.yaml", HOME)
    (tmp_path / "bin" / "scontrol").unlink()
    with pytest.raises(UserError, match=r"its commands are not on \$PATH"):
        require_valid(site_of(), tmp_path / "site.yaml", HOME)


def test_sites_without_slurm_ask_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    require_valid(Site(), tmp_path / "site.yaml", HOME)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"partition": "gpu", "gpus": 2, "gpu_type": "a100", "cpus": 4, "memory_gb": 7.8125, "time_min": 1440},
        {"partition": "gpu", "gpus": 1, "gpu_type": "v100", "exclude": ("node1",)},
        {"partition": "gpu,high", "constraint": "ib&amd"},
        {"constraint": "[ib*1|intel*1]"},
        {"partition": "high", "time_min": 100000},
        {"partition": "cpu", "account": "small", "time_min": 60, "slots": 9},
        {"qos": "long", "slots": 7},
        {"slots": 40, "runs_per_job": 2, "cpus": 2},
        {"slots": 100, "max_jobs": 20},
        {"slots": 100, "mode": Mode.JOBS},
        {"partition": "off"},  # DOWN: that passes
    ],
)
def test_sites_that_the_cluster_takes(cluster, settings):
    assert problems_of(cluster, **settings) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partition": "gup"}, "partition: no partition 'gup' on onemachine. Did you mean 'gpu'? Known: cpu, gpu,"),
        ({"time_min": 1441}, "time_min: 1441 minutes, but partition 'gpu' allows at most 1440; write `time_min: 1440`"),
        ({"partition": "high", "qos": "long", "time_min": 2881}, "account or QoS (long) allows at most 2880"),
        ({"gpus": 3}, "gpus: no node of partition 'gpu' has 3 GPUs; they have 1 × v100, 2 × a100"),
        ({"gpus": 1, "gpu_type": "h100"}, "has 1 GPU of type 'h100'; they have"),
        ({"gpus": 1, "partition": "cpu"}, "gpus: no node of partition 'cpu' has 1 GPU; they have no GPU"),
        ({"nodes": 2, "gpus": 2}, "but only 1 of partition 'gpu' with 1 CPU, 2 GPUs; write `nodes: 1` or less"),
        ({"cpus": 5}, "cpus: no node of partition 'gpu' has 5 CPUs; write `cpus: 4` or less"),
        ({"memory_gb": 8}, "memory_gb: no node of partition 'gpu' has 8 GB; they have at most 7.8; write `memory_gb"),
        ({"constraint": "ib&fast"}, "constraint: no node of partition 'gpu' satisfies 'ib&fast'; they have features"),
        ({"constraint": "fast|slow"}, "satisfies 'fast|slow'"),
        ({"gpus": 2, "constraint": "intel"}, "gpus: no node of partition 'gpu' has 1 CPU, 2 GPUs, features 'intel'"),
        ({"gpus": 2, "exclude": ("node1",)}, "exclude: leaves no node of partition 'gpu' that has 1 CPU, 2 GPUs"),
        ({"exclude": ("node9",)}, "exclude: no node 'node9' on onemachine."),
        ({"account": "labb"}, "account: you may not charge 'labb'. Did you mean 'lab'? Known: lab, small."),
        ({"account": "small"}, "account: partition 'gpu' does not take account 'small'; it takes lab"),
        ({"partition": "vip"}, "account: partition 'vip' does not take account 'lab'; it takes none of yours"),
        ({"qos": "nobody"}, "qos: account 'lab' may not use QoS 'nobody'. Known: long, normal."),
        ({"qos": "long", "partition": "cpu"}, "qos: partition 'cpu' does not take QoS 'long'; it takes normal"),
        ({"slots": 21}, "slots: 21 runs at once, 1 per job, need 21 jobs, but SLURM takes at most 20 jobs from you"),
        ({"slots": 16, "runs_per_job": 2, "cpus": 2, "qos": "long"}, "write `slots: 14`, or `max_jobs: 7`"),
    ],
)  # fmt: skip
def test_sites_that_the_cluster_refuses(cluster, settings, message):
    problems = problems_of(cluster, **settings)
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"partition": "gup"}, {"time_min": 1441}, {"nodes": 2, "gpus": 2, "mode": Mode.JOBS},
        {"cpus": 5}, {"memory_gb": 8}, {"account": "labb"}, {"account": "small"}, {"qos": "longg"},
        {"qos": "long", "partition": "cpu", "account": "lab"}, {"slots": 21}, {"exclude": ("node4",)},
        {"partition": "high", "qos": "long", "time_min": 2881},
        {"slots": 16, "runs_per_job": 2, "cpus": 2, "qos": "long"},
        {"memory_gb": 2, "partition": "small"}, {"time_min": 2_000_000, "partition": "small"},
    ],
)  # fmt: skip
def test_what_is_advised_is_taken(cluster, settings):
    """Each piece of advice of a message mends that place."""
    small = Partition("small", max_time_min=1_234_567, nodes=(Node("tiny", 1, 900),))
    cluster = replace(cluster, partitions=(*cluster.partitions, small))
    (problem,) = check_site(site_of(**settings), cluster)
    advised = [(key, float(n)) for key, n in re.findall(r"`(\w+): ([\d.e+]+)`", problem.message)]
    advised += [
        (problem.path, name) for name in re.findall(r"Did you mean '(.*)'|it takes (\w+)|Up: (\w+)", problem.message)
    ]
    assert advised
    for key, found in advised:
        value = "".join(found) if isinstance(found, tuple) else int(found) if found.is_integer() else found
        better = {**settings, key: (value,) if key == "exclude" else value}
        assert problem not in check_site(site_of(**better), cluster)
        assert not [p for p in check_site(site_of(**better), cluster) if p.path == problem.path]


def test_every_phase_is_checked_and_nothing_said_twice(cluster):
    default = Resources(gpus=3)
    phases = {"prepare": replace(default, time_min=6000), "tune": replace(default, gpus=1)}
    assert [problem.path for problem in check_site(Site("slurm", 1, slurm=Slurm(default, phases)), cluster)] == [
        "gpus", "phases.prepare.time_min",
    ]  # fmt: skip


def test_a_cluster_without_a_default_partition(cluster):
    partitions = tuple(replace(partition, is_default=False) for partition in cluster.partitions)
    assert "partition: is missing, and onemachine has no default one" in problems_of(
        replace(cluster, partitions=partitions)
    )[0]  # fmt: skip


def test_a_user_without_an_account(cluster):
    assert problems_of(replace(cluster, associations=())) == [
        "account: you have none on onemachine; its administrators can give you one"
    ]


@pytest.mark.parametrize("home", ["/data/100%/x", "/data/a\\b", "/data/a:b"])
def test_homes_whose_path_slurm_or_python_would_read_otherwise(commands, tmp_path, home):
    """The log of a job in `/data/pc%j` is in `/data/pc27`, and nobody finds it."""
    with pytest.raises(UserError, match=r"in its path: SLURM reads % and .* name another with --home DIR"):
        require_valid(site_of(), tmp_path / "site.yaml", Path(home))
    require_valid(site_of(), tmp_path / "site.yaml", Path('/data/it\'s $HOME "x" #;*'))


def test_all_problems_at_once(commands, tmp_path):
    with pytest.raises(PlanError, match=r"site.yaml: 3 problems") as caught:
        require_valid(site_of(gpus=9, cpus=9, account="x"), tmp_path / "site.yaml", HOME)
    assert [problem.path for problem in caught.value.problems] == ["gpus", "cpus", "account"]


def test_short_forms_of_node_names():
    assert expand_nodes(["node[1-3,7],other", "rack[08-10]x"]) == [
        "node1", "node2", "node3", "node7", "other", "rack08x", "rack09x", "rack10x",
    ]  # fmt: skip


def test_fitting_nodes(cluster):
    gpu = cluster.default_partition
    assert [node.name for node in fitting_nodes(Resources(gpus=1), gpu)] == ["node1", "node2"]
    assert [node.name for node in fitting_nodes(Resources(gpus=2), gpu)] == ["node1"]
    assert fitting_nodes(Resources(exclude=("node[1-2]",)), gpu) == []


def proposed(cluster, tmp_path):
    path = tmp_path / "proposed.yaml"
    path.write_text(propose_site(cluster))
    return load_site(path)


def test_a_proposal_passes_its_own_check(cluster, tmp_path):
    site = proposed(cluster, tmp_path)
    assert check_site(site, cluster) == []
    assert site.slurm.resources == Resources(partition="gpu", gpus=1, cpus=2, memory_gb=3, time_min=240)


def test_a_proposal_where_the_default_partition_is_of_no_use(cluster, tmp_path):
    down, *others = cluster.partitions
    cluster = replace(cluster, partitions=(replace(down, state="DRAIN"), *others), default_account=None)
    site = proposed(cluster, tmp_path)
    assert (site.slurm.resources.partition, site.slurm.resources.account, site.slots) == ("high", "lab", 2)
    assert check_site(site, cluster) == []


def test_a_proposal_for_a_small_cluster_without_accounting(tmp_path):
    node = Node("n", 1, 900)
    cluster = Cluster("c", "23.11", (Partition("p", is_default=True, max_time_min=30, nodes=(node,)),))
    site = proposed(cluster, tmp_path)
    assert site.slurm.resources == Resources(partition="p", cpus=1, memory_gb=1, time_min=30)


def test_init_then_check(commands, tmp_path, capsys):
    path = tmp_path / "site.yaml"
    assert main(["site", "init", str(path)]) == 0
    assert "#   cpu: UP, at most 60 minutes; 1 node with 2 CPUs, no GPU, 3.9 GB" in path.read_text()
    assert main(["site", "check", str(path)]) == 0
    output = capsys.readouterr().out
    for fact in (
        "cluster onemachine, SLURM 22.05.8; preemption: REQUEUE",
        "one job has 2 CPUs, 1 GPU, 3 GB for 240 minutes",
        "2 of its 2 nodes fit, 1 of them are up",
        "account lab, QoS normal",
        "jobs of yours that wait and run: at most 20",
        "SLURM takes it: a job of that kind is to start at noon",
    ):
        assert fact in output
    assert main(["site", "init", str(path)]) == 2
    assert "exists; name another file, or overwrite it with --force" in capsys.readouterr().err
    assert main(["site", "init", str(path), "--force"]) == 0


def test_check_says_what_is_wrong(commands, tmp_path, capsys):
    path = tmp_path / "site.yaml"
    path.write_text("executor: slurm\npartition: gup\n")
    assert main(["site", "check", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: 1 problem\n  - partition: no partition 'gup'")


def test_check_asks_slurm_itself(commands, tmp_path, capsys):
    """A site's own submission rules are in none of the tables."""
    path = tmp_path / "site.yaml"
    path.write_text("executor: slurm\n")
    commands.submission = ("error: say which project", 1)
    commands.install()
    assert main(["site", "check", str(path)]) == 2
    assert capsys.readouterr().err == "error: SLURM refuses such a job now: say which project\n"


def test_check_of_what_passes(commands, tmp_path, capsys):
    """A partition that is down is no mistake of the file."""
    path = tmp_path / "site.yaml"
    path.write_text("executor: slurm\npartition: off\n")
    commands.submission = (
        "error: Batch job submission failed: Required partition not available (inactive or drain)",
        1,
    )
    commands.install()
    assert main(["site", "check", str(path)]) == 0
    output = capsys.readouterr().out
    assert "nothing starts in off at present; a study waits until it is up. Up now: gpu, high, cpu, vip" in output
    assert "SLURM takes no such job at present, a study waits until it does" in output


def test_check_of_a_site_without_slurm(tmp_path, capsys):
    path = tmp_path / "site.yaml"
    path.write_text("executor: local\n")
    assert main(["site", "check", str(path)]) == 0
    assert "runs go to this machine" in capsys.readouterr().out


def test_init_needs_a_folder(commands, tmp_path, capsys):
    assert main(["site", "init", str(tmp_path / "no" / "site.yaml")]) == 2
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err


def test_the_site_may_choose_the_home(tmp_path, monkeypatch, capsys):
    """`--home` and $STUDY_HOME go before it."""
    site = tmp_path / "site.yaml"
    site.write_text(f"home: {tmp_path / 'of-site'}\n")
    monkeypatch.setenv("STUDY_SITE", os.fspath(site))
    monkeypatch.delenv("STUDY_HOME", raising=False)
    for arguments, home in (([], "of-site"), (["--home", str(tmp_path / "given")], "given")):
        assert main(["status", "nothing", *arguments]) == 2
        assert f"no study 'nothing' in {tmp_path / home}" in capsys.readouterr().err
    site.write_text("hom: x\n")
    assert main(["status", "nothing"]) == 2
    assert "unknown key 'hom'. Did you mean 'home'?" in capsys.readouterr().err
