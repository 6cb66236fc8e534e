"""Programs named `sacct`, `squeue` and `scontrol` that say what a test wants, and note how they were called."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

_NO_ACCOUNTING = "Slurm accounting storage is disabled"
_NO_CONTROLLER = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
_NO_SUCH_JOB = "slurm_load_jobs error: Invalid job id specified"
_NO_SUCH_MEMBER = 'case "$4" in *_*) echo "Job $4 not found"; exit 1;; esac'


class SlurmCommands:
    """The commands; until told otherwise they answer that there is no job."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._tools = folder, {name: shutil.which(name) for name in ("cat", "sleep")}
        monkeypatch.setenv("PATH", str(folder))  # alone: SLURM may be installed here
        self.accounting()
        self.queue()
        self.memory()

    def accounting(self, *rows: str) -> None:
        """`sacct` prints rows of JobID|State|ExitCode|NodeList."""
        self._write("sacct", rows)

    def queue(self, *rows: str) -> None:
        """`squeue` prints rows of id|state|nodes|reason."""
        self._write("squeue", rows)

    def memory(self, *rows: str) -> None:
        """`scontrol show job` prints fields; without any it does not know the job."""
        if rows:
            self._write("scontrol", rows)
        else:
            self._write("scontrol", (), _NO_SUCH_JOB, 1, first=_NO_SUCH_MEMBER)

    def accounting_is_disabled(self) -> None:
        """The cluster keeps no accounts."""
        self._write("sacct", (), _NO_ACCOUNTING, 1)

    def controller_is_away(self) -> None:
        """The controller restarts."""
        self._write("squeue", (), _NO_CONTROLLER, 1)
        self._write("scontrol", (), _NO_CONTROLLER, 1)

    def says(self, program: str, *rows: str) -> None:
        """The program prints these and exits with 0."""
        self._write(program, rows)

    def takes_jobs(self) -> None:
        """`sbatch` gives out the numbers 7, 8, 9, …"""
        calls = shlex.quote(str(self._folder / "sbatch.calls"))
        count = f"n=6; while read -r _; do n=$((n+1)); done < {calls}"
        self._write("sbatch", (), first=f'{count}; echo "Submitted batch job $n"')

    def fails(self, program: str, message: str) -> None:
        """The program exits with 1."""
        self._write(program, (), message, 1)

    def hangs(self, program: str) -> None:
        """The program does not come back."""
        self._write(program, (), hangs=True)

    def is_missing(self, program: str) -> None:
        """The program is not installed."""
        (self._folder / program).unlink()

    def calls(self, program: str) -> list[str]:
        """How the program was called, each time."""
        log = self._folder / f"{program}.calls"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    def _write(
        self,
        program: str,
        rows: Iterable[str],
        message: str = "",
        code: int = 0,
        *,
        hangs: bool = False,
        first: str = "",
    ) -> None:
        path = self._folder / program
        output = path.with_suffix(".output")
        output.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        lines = [
            "#!/bin/sh",
            f'echo "$*" >> {shlex.quote(str(path.with_suffix(".calls")))}',
            first,
            f"exec {self._tools['sleep']} 60" if hangs else f"{self._tools['cat']} {shlex.quote(str(output))}",
            f"echo {shlex.quote(message)} >&2",
            f"exit {code}",
        ]
        path.unlink(missing_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
        path.chmod(0o755)
