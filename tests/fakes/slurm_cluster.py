"""A real SLURM cluster on this machine: accounting, two nodes with two fake GPUs each, a partition that preempts.

    python -m tests.fakes.slurm_cluster start FOLDER     prints what to export
    python -m tests.fakes.slurm_cluster stop FOLDER

Everything listens on 127.0.0.1, on free ports, and lives in one folder. It needs root (slurmd does) and SLURM 22.05 or
later with slurmdbd, MariaDB and munge.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("sbatch", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "munged")
_PACKAGES = ("slurm-wlm", "slurmdbd", "mariadb-server", "munge")
NODES = ("node1", "node2")
_CLUSTERS = Path(tempfile.gettempdir()) / "study-test-clusters"  # a file per cluster: who started it
_ADVICE = "to run them, as root: STUDY_INSTALL_SYSTEM=1 make test"


def ensure_installed() -> None:
    """Install SLURM where that is allowed: as root with CI or STUDY_INSTALL_SYSTEM=1; else skip the tests."""
    if os.geteuid() != 0:
        pytest.skip(f"a SLURM cluster of one machine needs root; {_ADVICE}")
    if all(map(shutil.which, PROGRAMS)):
        return
    if not os.environ.get("CI") and not os.environ.get("STUDY_INSTALL_SYSTEM"):
        pytest.skip(f"SLURM is not installed; {_ADVICE}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (("apt-get", "update", "-qq"), ("apt-get", "install", "-y", "-qq", *_PACKAGES)):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            pytest.skip(f"SLURM cannot be installed: {' '.join(command)}: {result.stderr[-500:]}; {_ADVICE}")


class SlurmCluster:
    """One cluster; `start` it, and `stop` what was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._is_munge_ours = False

    @property
    def environment(self) -> Mapping[str, str]:
        """What its commands need."""
        return {"SLURM_CONF": str(self.conf)}

    def start(self, *, preempt_user_signal: bool = False, outlives_us: bool = False) -> None:
        """Start all daemons; raises with the end of its log when one does not come up.

        Args:
            preempt_user_signal: jobs get their warning signal when they are preempted.
            outlives_us: the cluster stays when this process ends; otherwise the next one that starts ends it.
        """
        _stop_ownerless()
        if not outlives_us:
            _CLUSTERS.mkdir(exist_ok=True)
            owner = psutil.Process()
            (_CLUSTERS / f"{owner.pid}-{self.folder.name}").write_text(f"{owner.create_time()} {self.folder}")
        for name in ("state", "spool", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._configure(preempt_user_signal=preempt_user_signal)
        self._start_munge()
        self._start_database()
        self._daemon("slurmdbd", "-D", "-s", conf="slurmdbd.conf")
        _wait(lambda: _answers(self._accounting_port), "accounting", self._log_tails)
        self.start_controller()
        for node in NODES:
            self.start_slurmd(node)
        _wait(lambda: self._states() == dict.fromkeys(NODES, "idle"), "idle nodes", self._log_tails)

    def stop(self) -> None:
        """End every process of the cluster and of its jobs."""
        names = [*(f"slurmd.{node}" for node in NODES), "slurmctld", "slurmdbd", "mariadbd"]
        processes = [process for name in names if (process := self._process(name)) is not None]
        for process in processes:
            for child in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
        steps = [p for p in psutil.process_iter(["environ"]) if _uses(p, self.conf)]
        _, alive = psutil.wait_procs([*processes, *steps], timeout=5)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for file in _CLUSTERS.glob(f"{os.getpid()}-{self.folder.name}"):
            file.unlink()
        if self._is_munge_ours and (munge := self._munge_pid()) is not None:
            os.kill(munge, signal.SIGTERM)

    # --- faults

    def kill_slurmd(self, node: str) -> None:
        """Cut a node off; what runs on it goes on."""
        process = self._process(f"slurmd.{node}")
        assert process is not None
        process.kill()
        process.wait(5)

    def start_slurmd(self, node: str) -> None:
        """Bring a node (back)."""
        self._daemon("slurmd", "-D", "-s", "-N", node, name=f"slurmd.{node}")

    def stop_controller(self) -> None:
        process = self._process("slurmctld")
        assert process is not None
        process.terminate()
        process.wait(10)

    def start_controller(self) -> None:
        self._daemon("slurmctld", "-D", "-s")

    def drain(self, node: str) -> None:
        """Let a node take no more jobs."""
        self.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")

    def resume(self, node: str) -> None:
        self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)

    def preempt(self, node: str, seconds: float) -> str:
        """Submit a job that takes a whole node from whatever runs there; returns its id."""
        return self.run(
            "sbatch", "--parsable", "-p", "high", "--exclusive", "-w", node, "-o", "/dev/null", "-J", "intruder",
            "--wrap", f"sleep {seconds}",
        )  # fmt: skip

    # --- what is going on

    def jobs(self) -> dict[str, tuple[str, str, str]]:
        """Jobs in the queue: id → name, state, node."""
        rows = self.run("squeue", "-h", "--array", "-o", "%i|%j|%T|%N").splitlines()
        return {job_id: (name, state, node) for job_id, name, state, node in (row.split("|") for row in rows)}

    def cancel(self, job_id: str) -> None:
        self.run("scancel", job_id)

    def heal(self) -> None:
        """Undo what a test has broken: daemons run, nodes take jobs, the queue is empty."""
        if self._process("slurmctld") is None:
            self.start_controller()
        for node in NODES:
            if self._process(f"slurmd.{node}") is None:
                self.start_slurmd(node)
        _wait(lambda: self.run("scontrol", "ping", check=False).find("UP") > 0, "the controller", self._log_tails)
        for job_id in self.jobs():
            self.run("scancel", job_id, check=False)
        _wait(lambda: not self.jobs(), "an empty queue", self._log_tails)

        def is_healthy() -> bool:
            states = self._states()
            for node, state in states.items():
                if state != "idle":
                    self.resume(node)
            return set(states.values()) == {"idle"}

        _wait(is_healthy, "idle nodes", self._log_tails)

    def run(self, *command: str | Path, check: bool = True) -> str:
        """The output of one of SLURM's commands."""
        environment = {**os.environ, **self.environment}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0 or not check, f"{command}: {result.stderr}"
        return result.stdout.strip()

    def ports(self) -> set[str]:
        """Addresses that its daemons listen on."""
        found = set()
        for name in ("slurmctld", "slurmdbd", "mariadbd", *(f"slurmd.{node}" for node in NODES)):
            process = self._process(name)
            assert process is not None, name
            found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        return found

    # --- parts

    def _states(self) -> dict[str, str]:
        rows = self.run("sinfo", "-h", "-N", "-p", "gpu", "-o", "%N %T", check=False).splitlines()
        return dict(row.split() for row in rows)

    def _configure(self, *, preempt_user_signal: bool) -> None:
        database, dbd, ctld, *slurmd = _free_ports(3 + len(NODES))
        self._database_port, self._accounting_port = database, dbd
        (self.folder / "slurmdbd.conf").write_text(f"""\
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageLoc=slurm_acct_db
StorageUser=slurm
StoragePass=slurm
SlurmUser=root
LogFile={self.folder}/logs/slurmdbd.log
PidFile={self.folder}/slurmdbd.pid
""")
        (self.folder / "slurmdbd.conf").chmod(0o600)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=8000 Gres=gpu:2"
            for node, port in zip(NODES, slurmd, strict=True)
        )
        self.conf.write_text(f"""\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool/%n
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.%n.pid
SlurmctldLogFile={self.folder}/logs/slurmctld.log
SlurmdLogFile={self.folder}/logs/slurmd.%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
{"SlurmctldParameters=preempt_send_user_signal" if preempt_user_signal else ""}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SlurmdTimeout=6
SlurmctldTimeout=10
KillWait=5
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={dbd}
AccountingStorageTRES=gres/gpu
{nodes}
PartitionName=gpu Nodes=ALL Default=YES PriorityTier=1 MaxTime=60
PartitionName=high Nodes=ALL PriorityTier=10
""")
        (self.folder / "gres.conf").write_text(
            f"NodeName={','.join(NODES)} Name=gpu Count=2 File=/dev/null,/dev/zero\n"
        )

    def _start_munge(self) -> None:
        """Munge is shared by the machine; one that works is used."""
        if self._munge_works():
            return
        if not Path("/etc/munge/munge.key").exists():
            subprocess.run(["mungekey", "--create"], check=True, user="munge")
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge")
        subprocess.run(["munged"], check=True, user="munge", group="munge", extra_groups=[])
        self._is_munge_ours = True
        _wait(self._munge_works, "munge", lambda: "")

    @staticmethod
    def _munge_works() -> bool:
        return subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0  # noqa: S602

    @staticmethod
    def _munge_pid() -> int | None:
        return next((p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == "munged"), None)

    def _start_database(self) -> None:
        data, sock = self.folder / "mysql", self.folder / "mysql.sock"
        if not data.exists():
            subprocess.run(
                ["mariadb-install-db", "--user=root", f"--datadir={data}", "--skip-test-db",
                 "--auth-root-authentication-method=normal"],
                check=True, capture_output=True,
            )  # fmt: skip
        self._daemon(
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={sock}",
            "--bind-address=127.0.0.1", f"--port={self._database_port}", "--innodb-flush-log-at-trx-commit=0",
        )  # fmt: skip

        def sql(text: str) -> bool:
            command = ["mariadb", "--no-defaults", f"--socket={sock}", "-e", text]
            return subprocess.run(command, capture_output=True).returncode == 0

        _wait(lambda: sql("select 1"), "MariaDB", self._log_tails)
        assert sql(
            "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'slurm';"
            "create user slurm@localhost identified by 'slurm'; grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
            "grant all on slurm_acct_db.* to slurm@localhost;"
        )

    def _daemon(self, *command: str, name: str | None = None, conf: str = "slurm.conf") -> None:
        """Start a daemon in a session of its own and keep its pid."""
        name = name or command[0]
        with (self.folder / "logs" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "SLURM_CONF": str(self.folder / conf)},
            )  # fmt: skip
        (self.folder / f"{name}.process").write_text(str(process.pid))

    def _process(self, name: str) -> psutil.Process | None:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            process = psutil.Process(int((self.folder / f"{name}.process").read_text()))
            is_it = process.name() == name.partition(".")[0]  # and not a later one of the same number
            if is_it and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _log_tails(self) -> str:
        logs = sorted((self.folder / "logs").iterdir())
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs)


def _stop_ownerless() -> None:
    """End clusters of test sessions that were killed: their daemons would hold processors and ports for ever."""
    for file in _CLUSTERS.glob("*"):
        started, _, folder = file.read_text().partition(" ")
        with suppress(psutil.NoSuchProcess):
            if str(psutil.Process(int(file.name.partition("-")[0])).create_time()) == started:
                continue
        SlurmCluster(Path(folder)).stop()
        file.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _uses(process: psutil.Process, conf: Path) -> bool:
    """Whether a process belongs to a job or a daemon of the cluster."""
    with suppress(psutil.Error):
        return (
            process.environ().get("SLURM_CONF") == str(conf)
            and process.pid != os.getpid()
            and bool(
                {"SLURM_JOB_ID", "SLURMD_NODENAME"} & process.environ().keys() or process.name().startswith("slurm")
            )
        )
    return False


def _wait(condition: Callable[[], bool], what: str, details: Callable[[], str], timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {timeout_s:.0f} s\n{details()}"
        time.sleep(0.1)


if __name__ == "__main__":
    action, folder = sys.argv[1:]
    cluster = SlurmCluster(Path(folder).absolute())
    if action == "start":
        cluster.start(outlives_us=True)
        print(f"export SLURM_CONF={cluster.conf}")
    else:
        cluster.stop()
