"""What is going on: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from study.errors import counted
from study.journal.heartbeat import Stage
from study.orchestration.forecast import Forecast
from study.orchestration.progress import Progress
from study.orchestration.snapshot import RunStatus, RunView
from study.plan.model import Phase

_PLAIN_EVERY_S = 15.0


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
        lines = [f"{run_id}: {line}" for run_id, (_, _, view) in progress.runs.items() for line in view.trouble]
        new = [line for line in dict.fromkeys(lines) if line not in self._reported]
        self._reported.update(new)
        return [*progress.news, *new]

    def _standing(self, progress: Progress) -> list[str]:
        lines = []
        for run_id, (_, phase, view) in progress.runs.items():
            over = view.status not in (RunStatus.ACTIVE, RunStatus.WAITING)
            if over and run_id not in self._reported:
                self._reported.add(run_id)
                if view.status is not RunStatus.COMPLETED:
                    lines.append(f"{phase}: {run_id} {view.status}: {view.failure}")
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
            views = [view for _, p, view in progress.runs.values() if p is phase]
            over = sum(view.status not in (RunStatus.ACTIVE, RunStatus.WAITING) for view in views)
            total = self._forecast.num_runs[phase] if self._forecast else len(views)
            parts.append(f"{phase} {over}/{total}")
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
        troubled = [
            Text(f"{run_id} {view.status}: {(view.failure or '').splitlines()[0]}", style="red")
            for run_id, (_, _, view) in progress.runs.items()
            if view.status in (RunStatus.FAILED, RunStatus.INFEASIBLE)
        ]
        return Group(*parts, *troubled)


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _active(progress: Progress) -> Sequence[tuple[str, RunView]]:
    """Runs at which a process is."""
    views = ((run_id, view) for run_id, (_, _, view) in progress.runs.items())
    return [(run_id, view) for run_id, view in views if view.status is RunStatus.ACTIVE and view.beat is not None]


def _stage(view: RunView) -> str:
    """What a run is at."""
    if view.beat is None or view.beat.phase is Stage.STARTING:
        return "starting"
    if view.beat.phase is Stage.EVALUATING:
        return f"evaluating {view.beat.what.partition('-')[0]}"
    return f"step {view.step}/{view.num_steps}"
