"""What Optuna says while searches run side by side, each in a thread."""

from __future__ import annotations

import threading
import warnings

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning

from servefit.search.storage.database import silent


def say() -> None:
    warnings.warn("heartbeats are experimental", ExperimentalWarning, stacklevel=1)


def test_threads_that_put_each_others_filters_back_let_no_warning_through() -> None:
    entered, ended, found = threading.Event(), threading.Event(), []

    def search() -> None:
        # Its filter is gone when the other thread is done, which had put what held before.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            entered.set()
            ended.wait()
            try:
                say()
            except ExperimentalWarning as warning:
                found.append(warning)

    verbosity = optuna.logging.get_verbosity()
    with silent():
        other = warnings.catch_warnings()
        other.__enter__()
        thread = threading.Thread(target=search)
        thread.start()
        entered.wait()
        other.__exit__(None, None, None)
        ended.set()
        thread.join()
    assert found == []
    assert optuna.logging.get_verbosity() == verbosity
    with pytest.raises(ExperimentalWarning):
        say()
