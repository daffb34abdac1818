"""An annex is found by name, where all of it is there."""

from __future__ import annotations

import pytest

from servefit.annexed import FOLDERS, from_annex, is_there
from servefit.errors import SpecError


@pytest.mark.parametrize("annex", FOLDERS)
def test_the_annexes_of_this_installation_are_there(annex: str) -> None:
    assert is_there(annex)


@pytest.mark.parametrize("gone", ["servefit.search.gone", "servefit.gone.fleet"])
def test_an_annex_of_which_a_folder_is_missing_is_not_there(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    monkeypatch.setitem(FOLDERS, "fleet", ("servefit.annexes.fleet", gone))
    assert not is_there("fleet")
    with pytest.raises(SpecError, match=rf"balancer: 'nginx' needs {gone}, which is not here; install servefit again"):
        from_annex("fleet", "balancing", field="balancer", value="nginx")
