"""A call that is made in this process tells what it tells in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.in_this_process import call_all_here, call_here

from servefit.backends.checking import verification
from servefit.errors import SpecError, WorkerCrashed
from servefit.isolation import call_isolated

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.integration, pytest.mark.parametrize("call", [call_isolated, call_here])]
"""Calls of functions that the standard library and servefit have."""

LIMIT_S = 60.0


def test_the_result_comes_back_as_another_object(call: Callable[..., object]) -> None:
    given = [[1], [2]]
    told = call("copy:copy", given, timeout_s=LIMIT_S)
    assert isinstance(told, list)
    assert told == given
    assert told[0] is not given[0]


def test_an_error_of_servefit_is_raised_as_it_is(call: Callable[..., object]) -> None:
    with pytest.raises(SpecError) as caught:
        call("servefit.checks:check_above_zero", "rate", -1, timeout_s=LIMIT_S)
    assert caught.value.field == "rate"


def test_any_other_error_is_a_process_that_ended(call: Callable[..., object]) -> None:
    with pytest.raises(WorkerCrashed, match="ended with status 1: ZeroDivisionError") as caught:
        call("operator:truediv", 1, 0, timeout_s=LIMIT_S)
    assert "Traceback" in caught.value.stderr


def test_modules_call_here_for_as_long_as_they_are_patched(call: Callable[..., object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if call is call_here:
            call_all_here(patch)
        assert vars(verification)["call_isolated"] is call
    assert vars(verification)["call_isolated"] is call_isolated
