"""How MLflow is reached: a client per store, no noise, and errors in our words. Imported before anything of MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from study.errors import StudyError
from study.journal.files import link_once
from study.tracking.base import RejectedError, TrackerError, UnknownRunError
from study.tracking.store import without_password

SQLITE = "sqlite:///"
_REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE")
_DELETED = "must be in the 'active' state"
_LOG_LEVELS = {  # failures reach the caller as exceptions
    "mlflow": "WARNING",
    "mlflow.store.db": "CRITICAL",
    "alembic": "WARNING",
    "urllib3": "ERROR",
}


def quieten() -> None:
    """Keep MLflow and what lies below it from logging what reaches the caller anyway."""
    for logger, level in _LOG_LEVELS.items():
        logging.getLogger(logger).setLevel(level)


_opened: dict[str, tuple[tuple[int, int], int]] = {}  # URI → identity of its file, how often that changed


def connected(uri: str) -> MlflowClient:
    """A client of `uri`; a missing SQLite file is created.

    MLflow keeps a connection to an SQLite file for as long as the process lives, and would go on writing to
    one that was deleted: a file that was replaced gets another spelling of its name.
    """
    if not uri.startswith(SQLITE):
        return MlflowClient(uri)
    file = Path(uri.removeprefix(SQLITE))
    if not file.exists():
        _create_sqlite(file)
    found = file.stat()
    identity = (found.st_dev, found.st_ino)
    known, num_changes = _opened.get(uri, (identity, 0))
    _opened[uri] = (identity, num_changes + (known != identity))
    return MlflowClient(f"{SQLITE}{file.parent}/{'./' * _opened[uri][1]}{file.name}")


def _create_sqlite(file: Path) -> None:
    """Create the store under another name first: half-made tables of a killed process could not be used."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}-{len(_opened)}")
    draft.unlink(missing_ok=True)
    MlflowClient(f"{SQLITE}{draft}").search_experiments(max_results=1)
    link_once(draft, file)
    draft.unlink()


@contextmanager
def translated() -> Iterator[None]:
    """Raise MLflow's errors, and those of what lies below it, as ours, without the password of an URI."""
    try:
        yield
    except MlflowException as error:
        text = without_password(str(error))
        if error.error_code == "RESOURCE_DOES_NOT_EXIST" or _DELETED in text:
            raise UnknownRunError(text) from error
        raise (RejectedError if error.error_code in _REFUSALS else TrackerError)(text) from error
    except StudyError:
        raise
    except Exception as error:  # a database or a socket, in many disguises
        raise TrackerError(without_password(f"{type(error).__name__}: {error}")) from error
