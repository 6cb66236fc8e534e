"""Publish again and again, beside an orchestrator, whatever happens to the tracker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from study.errors import StudyError
from study.paths import HomePaths
from study.tracking.base import Tracker
from study.tracking.publisher import Publisher
from study.tracking.store import without_password

_logger = logging.getLogger(__name__)

_LONGEST_WAIT = 30  # intervals
_LAST_PASS_S = 60.0


def follow(
    home: HomePaths,
    study: str,
    uri: str,
    stop: Callable[[], bool],
    interval_s: float = 10.0,
    *,
    look_every_s: float = 60.0,
    connect: Callable[[HomePaths, str], Tracker] | None = None,
) -> bool:
    """Publish every `interval_s` seconds until `stop()`, then once more, for a minute at most. Never raises.

    While the tracker does not work, the waits grow to thirty intervals; a single warning says so. What is wrong, and
    what was not as the last pass had left it, is said once.

    Args:
        home: the study home.
        study: name of the study.
        uri: tracking URI.
        stop: asked about twice a second.
        interval_s: pause between passes.
        look_every_s: how often it looks whether everything is still there.
        connect: opens the tracker; MLflow by default, imported when first needed.

    Returns:
        Whether everything has arrived: the last pass went through the whole study without a problem.
    """
    follower = _Follower(home, study, uri, look_every_s, connect or _connect)
    while not stop():
        num_failures = follower.attempt(stop)
        _sleep(interval_s * min(2**num_failures, _LONGEST_WAIT), stop)
    deadline = time.monotonic() + _LAST_PASS_S
    follower.attempt(lambda: time.monotonic() > deadline, is_last=True)
    return follower.has_arrived


class _Follower:
    def __init__(
        self, home: HomePaths, study: str, uri: str, look_every_s: float, connect: Callable[[HomePaths, str], Tracker]
    ) -> None:
        self._home, self._study, self._uri, self._connect = home, study, uri, connect
        self._look_every_s = look_every_s
        self._shown_uri = without_password(uri)
        self._publisher: Publisher | None = None
        self._num_failures = 0
        self._said: set[str] = set()
        self.has_arrived = False

    def attempt(self, interrupted: Callable[[], bool], *, is_last: bool = False) -> int:
        """One pass, which looks at everything when it is the last; return how many have failed in a row."""
        self.has_arrived = False
        try:
            if self._publisher is None or is_last:
                tracker = self._connect(self._home, self._uri)
                self._publisher = Publisher(self._home, self._study, tracker, look_every_s=self._look_every_s)
            summary = self._publisher.publish(interrupted)
        except Exception as error:  # a tracker must never stop a study
            if self._num_failures == 0:
                is_bug = not isinstance(error, StudyError | OSError)
                text = "publishing to %s fails, trying on: %s"
                _logger.warning(text, self._shown_uri, error, exc_info=is_bug)
            self._num_failures = min(self._num_failures + 1, 16)
        else:
            if self._num_failures:
                _logger.info("publishing to %s works again", self._shown_uri)
            self._num_failures = 0
            self.has_arrived = summary.has_arrived
            texts = {text: text for text in (*(f"not published: {p}" for p in summary.problems), *summary.remarks())}
            for text in texts:
                topic = "foreign" if text == summary.foreign else text
                if topic not in self._said:
                    _logger.warning("%s", text)
                    self._said.add(topic)
        return self._num_failures


def _connect(home: HomePaths, uri: str) -> Tracker:
    from study.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(uri, home.mlartifacts)


def _sleep(duration_s: float, stop: Callable[[], bool]) -> None:
    end = time.monotonic() + duration_s
    while not stop() and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.5, left))
