"""Whose turn it is of jobs and surveys, and by what it is known that they are of the same model data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from servefit.aws.jobs import model_data
from servefit.aws.jobs.model_data import DataVersions
from servefit.aws.jobs.turns import DATA_VERSION, JOB, SURVEY, next_turn
from servefit.aws.state.resources import Resource
from servefit.backends.model.archive import MAX_MEMBERS

if TYPE_CHECKING:
    from pathlib import Path


def job(name: str, status: str = "PENDING", *, of: str = "its own") -> Resource:
    return resource(JOB, name, {"Status": status, DATA_VERSION: of})


def survey(name: str, status: str = "PENDING", *, of: str = "another") -> Resource:
    return resource(SURVEY, name, {"Status": status, DATA_VERSION: of})


def resource(kind: str, name: str, document: dict[str, Any]) -> Resource:
    return Resource(kind=kind, name=name, created=0.0, modified=0.0, document=document)


def named(found: Resource | None) -> str | None:
    return None if found is None else found.name


def test_nothing_has_its_turn_where_nothing_waits() -> None:
    done = [job("a", "COMPLETED"), job("b", "FAILED"), job("c", "STOPPED")]
    assert next_turn(done, [survey("d", "COMPLETED"), survey("e", "FAILED")], before=None) is None


def test_what_was_begun_goes_on() -> None:
    assert named(next_turn([job("a"), job("b", "STOPPING")], [survey("c")], before=None)) == "b"
    assert named(next_turn([job("a")], [survey("b"), survey("c", "IN_PROGRESS")], before=None)) == "c"


def test_a_survey_goes_before_jobs_and_a_job_after_a_survey() -> None:
    jobs, surveys = [job("a"), job("b")], [survey("c"), survey("d")]
    assert named(next_turn(jobs, surveys, before=None)) == "c"
    assert named(next_turn(jobs, surveys, before=JOB)) == "c"
    assert named(next_turn(jobs, surveys, before=SURVEY)) == "a"
    assert named(next_turn([], surveys, before=SURVEY)) == "c"


def test_a_survey_of_the_data_of_a_job_is_left_unless_the_job_came_to_nothing() -> None:
    surveys = [survey("mine", of="fraud")]
    assert named(next_turn([job("a", of="fraud")], surveys, before=JOB)) == "a"
    assert next_turn([job("a", "COMPLETED", of="fraud")], surveys, before=JOB) is None
    assert named(next_turn([job("a", "FAILED", of="fraud")], surveys, before=JOB)) == "mine"


def test_a_job_of_before_has_no_version_and_holds_up_nothing() -> None:
    old = resource(JOB, "old", {"Status": "PENDING"})
    assert named(next_turn([old], [survey("mine")], before=JOB)) == "mine"


def test_the_same_content_is_the_same_data(tmp_path: Path) -> None:
    versions = DataVersions()
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("model")
    second.write_text("model")
    os.utime(second, (0, 0))
    known = versions.of(first)
    assert known is not None
    assert versions.of(second) == known
    first.write_text("other")
    assert versions.of(first) not in (None, known)


def test_large_files_and_folders_are_known_by_sizes_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_data, "_MAX_READ_BYTES", 3)
    versions, file = DataVersions(), tmp_path / "model"
    file.write_text("model")
    alone, within = versions.of(file), versions.of(tmp_path)
    assert None not in (alone, within)
    assert (versions.of(file), versions.of(tmp_path)) == (alone, within)
    os.utime(file, (0, 0))
    assert versions.of(file) != alone
    assert versions.of(tmp_path) != within


def test_a_file_below_a_folder_or_behind_a_link_changes_the_version_of_the_folder(tmp_path: Path) -> None:
    versions, folder, linked = DataVersions(), tmp_path / "model", tmp_path / "elsewhere"
    (folder / "below" / "deep").mkdir(parents=True)
    (folder / "below" / "deep" / "model.ubj").write_text("model")
    linked.write_text("model")
    (folder / "link").symlink_to(linked)
    (folder / "broken").symlink_to(tmp_path / "nothing")
    (folder / "around").symlink_to(folder)
    first = versions.of(folder)
    assert first is not None
    assert versions.of(folder) == first
    (folder / "below" / "deep" / "model.ubj").write_text("other")
    second = versions.of(folder)
    assert second not in (None, first)
    linked.write_text("other")
    assert versions.of(folder) not in (None, first, second)


@pytest.mark.thorough
def test_a_folder_of_very_many_files_or_of_none_has_no_version(tmp_path: Path) -> None:
    versions = DataVersions()
    assert versions.of(tmp_path) is None
    (tmp_path / "model").touch()
    assert versions.of(tmp_path) is not None
    for number in range(MAX_MEMBERS):
        (tmp_path / str(number)).touch()
    assert versions.of(tmp_path) is None


def test_what_cannot_be_read_has_no_version(tmp_path: Path) -> None:
    versions = DataVersions()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name in ("nothing", "pipe", "empty", "a\0b", "a" * 300):
        assert versions.of(tmp_path / name) is None
