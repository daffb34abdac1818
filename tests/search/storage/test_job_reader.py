"""Jobs that are read again and again, while their database is written to, and goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.search.jobs.job_reader import JobReader
from servefit.search.storage.header import JobState
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.search.storage.conftest import MakeHeader

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def reader(home: Path) -> Iterator[JobReader]:
    reader = JobReader()
    yield reader
    reader.close()


def keep(header: MakeHeader, name: str) -> None:
    with JobStore.open() as store:
        store.create(header(name))


def test_the_database_is_opened_once_and_what_others_write_is_read(
    reader: JobReader, header: MakeHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(header, "fraud")
    assert reader.job("fraud").status == "IN_PROGRESS"
    with JobStore.open() as store:
        store.job("fraud").set_state(JobState(status="STOPPED"))
        store.create(header("spam"))
    monkeypatch.setattr(JobStore, "open", lambda: pytest.fail("it was opened again"))
    assert reader.job("fraud").status == "STOPPED"
    assert reader.job("spam").header.request.name == "spam"
    with pytest.raises(SpecError, match="unknown"):
        reader.job("unknown")
    assert reader.job("fraud").status == "STOPPED"


def test_a_database_that_was_removed_is_opened_as_it_is_now(reader: JobReader, home: Path, header: MakeHeader) -> None:
    keep(header, "fraud")
    reader.job("fraud")
    for file in home.glob("jobs.db*"):
        file.unlink()
    with pytest.raises(SpecError, match="fraud"):
        reader.job("fraud")
    keep(header, "spam")
    assert reader.job("spam").header.request.name == "spam"
