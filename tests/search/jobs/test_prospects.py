"""Prospects: what is expected of a model on the profiles of this host, from calls that are timed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.tiny_model import tiny_model

from servefit.errors import CorruptModel, ServefitError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles
from servefit.search.jobs.prospects import LIMIT_S, prospects_of
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment


class Stages(SilentProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.elapsed_s: list[float] = []

    def stage(self, text: str, at: Moment | None = None) -> None:
        self.texts.append(text)
        if at is not None:
            self.elapsed_s.append(at.elapsed_s)


@pytest.mark.thorough
@pytest.mark.timed
def test_each_profile_of_this_host_has_one_and_no_job_is_kept(tmp_path: Path) -> None:
    progress = Stages()
    found = prospects_of(tiny_model(tmp_path / "model.ubj"), trust_pickle=False, progress=progress)
    assert {each.profile.name for each in found} == {each.name for each in local_profiles(describe_host())}
    for each in found:
        configuration = each.configuration
        assert configuration.vcpus == each.profile.vcpus
        assert configuration.workers * configuration.settings.threads <= each.profile.vcpus
        assert each.capacity_per_s > 100
    assert "timing calls" in progress.texts
    assert max(progress.elapsed_s) < LIMIT_S
    with JobStore.open() as store:
        assert "prospects" not in [job.name for job in store.jobs()]


def test_a_model_that_is_not_there_has_none(tmp_path: Path) -> None:
    with pytest.raises(CorruptModel, match="no such file"):
        prospects_of(tmp_path / "none.ubj", trust_pickle=False, progress=Stages())


@pytest.mark.integration
def test_a_pickle_is_not_opened_unasked(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04}\x94.")
    with pytest.raises(ServefitError, match="pickle"):
        prospects_of(tmp_path / "model.pkl", trust_pickle=False, progress=Stages())
