"""What is going on: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from study.amounts import duration
from study.errors import counted
from study.journal.heartbeat import Stage
from study.orchestration.forecast import Forecast
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase

_PLAIN_EVERY_S = 15.0
_MOST_TROUBLED = 10  # runs, on a live view


class Board:
    """Shows progress; a context manager, because a live view must be taken down before anything else is printed."""

    def __init__(self, console: Console, slots: int) -> None:
        """`slots` is how many attempts run at once."""
        self._console, self._slots = console, slots
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._forecast: Forecast | None = None
        self._start = time.monotonic()
        self._last_line = -_PLAIN_EVERY_S
        self._reported: set[str] = set()
        self._num_troubles, self._num_ended = 0, 0  # of those that have been read

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """What is happening before there are runs to show."""
        if self._live:
            self._live.update(Spinner("dots", text=text))
        else:
            self._console.print(text, highlight=False)

    def expect(self, forecast: Forecast) -> None:
        """From now on, show the remaining time."""
        self._forecast = forecast

    def show(self, progress: Progress) -> None:
        """Show where the study stands."""
        for line in self._news(progress):
            self._console.print(line, highlight=False, soft_wrap=True)
        if self._live:
            self._live.update(self._render(progress))
            return
        for line in self._standing(progress):
            self._console.print(line, highlight=False, soft_wrap=True)

    def _news(self, progress: Progress) -> list[str]:
        """What the executor says, and what has gone wrong and is tried again, each once; it stays on the screen."""
        lines = progress.ledger.troubles[self._num_troubles :]
        self._num_troubles += len(lines)
        new = [line for line in dict.fromkeys(lines) if line not in self._reported]
        self._reported.update(new)
        return [*progress.news, *new]

    def _standing(self, progress: Progress) -> list[str]:
        lines = []
        ended = progress.ledger.ended
        for run_id in ended[self._num_ended :]:
            _, phase, view = progress.runs[run_id]
            if view.status in (RunStatus.FAILED, RunStatus.INFEASIBLE) and run_id not in self._reported:
                self._reported.add(run_id)
                lines.append(f"{phase}: {run_id} {view.status}: {view.failure}")
        self._num_ended = len(ended)
        now = time.monotonic()
        if now - self._last_line >= _PLAIN_EVERY_S:
            self._last_line = now
            running = ", ".join(f"{run_id} {_stage(view)}" for run_id, view in _active(progress))
            waiting = f"; in line: {counted(n, 'run')}" if (n := progress.num_in_line) else ""
            summary = self._summary(progress)
            lines.append(f"[{now - self._start:5.0f} s] {summary}; running: {running or 'nothing'}{waiting}")
        return lines

    def _summary(self, progress: Progress) -> str:
        parts = []
        for phase in Phase:
            total = self._forecast.num_runs[phase] if self._forecast else progress.ledger.num_known(phase)
            parts.append(f"{phase} {progress.ledger.num_over(phase)}/{total}")
        return ", ".join(parts) + self._remaining(progress)

    def _remaining(self, progress: Progress) -> str:
        if progress.is_stopping:
            return ", stopping: what runs saves and leaves"
        if self._forecast is None:
            return ""
        forecast = self._forecast.updated(progress)
        left = max(0.0, forecast.total_s() - forecast.done_s(progress)) / self._slots
        return f", about {duration(left)} to go"

    def _render(self, progress: Progress) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for run_id, view in _active(progress):
            bar = ProgressBar(total=view.num_steps or 1, completed=view.step, width=24)
            table.add_row(Text(run_id), bar, Text(_stage(view)))
        parts: list[RenderableType] = []
        if self._forecast:
            forecast = self._forecast.updated(progress)
            overall = Table.grid()
            overall.add_row(ProgressBar(total=forecast.total_s(), completed=forecast.done_s(progress), width=48))
            parts.append(overall)
        elapsed = duration(time.monotonic() - self._start)
        waiting = f"; {counted(n, 'run')} in line" if (n := progress.num_in_line) else ""
        parts += [Text(f"{self._summary(progress)}; running for {elapsed}{waiting}"), table]
        return Group(*parts, *_troubled(progress))


def _active(progress: Progress) -> Sequence[tuple[str, RunView]]:
    """Runs at which a process is."""
    views = ((run_id, progress.runs[run_id][2]) for run_id in progress.ledger.active)
    return [(run_id, view) for run_id, view in views if view.beat is not None]


def _troubled(progress: Progress) -> Iterator[Text]:
    """The newest runs that failed or are infeasible, and how many there are before them."""
    troubled = list(progress.ledger.troubled)
    if (earlier := len(troubled) - _MOST_TROUBLED) > 0:
        yield Text(f"{earlier} more runs failed or are infeasible", style="red")
    for run_id in troubled[-_MOST_TROUBLED:]:
        view = progress.runs[run_id][2]
        yield Text(f"{run_id} {view.status}: {next(iter((view.failure or '').splitlines()), '')}", style="red")


def _stage(view: RunView) -> str:
    """What a run is at."""
    if view.beat is None or view.beat.phase is Stage.STARTING:
        return "starting"
    if view.beat.phase is Stage.EVALUATING:
        return f"evaluating {view.beat.what.partition('-')[0]}"
    return f"step {view.step}/{view.num_steps}"
