"""The errors of servefit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from servefit import errors
from servefit.errors import ServefitError

ONE_OF_EACH = (
    ServefitError("it failed", remedy="try again"),
    errors.SpecError("--sla", "p95<10", "is not understood", remedy="write p95=10ms"),
    errors.JobInUse("fraud", host="rack-1", pid=4711, since=1.7e9),
    errors.ObjectiveError("p95-per-watt", "watts 1.0", "of_trial() gave nan"),
    errors.StorageError("sqlite:////state/jobs.db", "disk I/O error", job="fraud", remedy="restore it"),
    errors.StateError(Path("/state/jobs"), "No space left on device", variable="TMPDIR"),
    errors.ModelError("the model is the problem"),
    errors.UnsupportedModel("a survival model", remedy="use another objective"),
    errors.CorruptModel(Path("model.ubj"), "it is truncated", remedy="copy it again"),
    errors.UntrustedModel(Path("model.pkl")),
    errors.PayloadMismatch("rows.csv", expected="30 columns", got="29 columns"),
    errors.BackendError("treelite", "it failed", remedy="use another backend"),
    errors.BackendUnavailable("tl2cgen", "no C compiler", remedy="install gcc"),
    errors.CompileFailed("tl2cgen", "gcc failed", command="gcc -O3 main.c", stderr="main.c:1: error"),
    errors.ScriptFailed("input_fn", "raised ValueError: no text/csv here (line 12 of inference.py)", status=400),
    errors.RowsRefused("onnxruntime", "idx=500 must be within the inclusive range [-100,99]"),
    errors.OutputMismatch(
        "onnxruntime", max_abs_error=0.25, max_rel_error=2.5, rows_wrong=3, rows=100, where="missing values"
    ),
    errors.LimitNotKept(
        "onnxruntime/int8-dynamic",
        verdict="UNDECIDED",
        found="100 % of 300 rows in the same class",
        rows=300,
        rows_needed=2995,
        all_rows=3295,
        most_rows=10_000,
    ),
    errors.MeasurementError("it could not be measured"),
    errors.WorkerCrashed("crashed with SIGSEGV", signal=11, stderr="last words"),
    errors.OutOfMemory("killed for memory", limit_bytes=2**30),
    errors.TimedOut("compile", limit_s=2.5),
    errors.HostMismatch("one", "other"),
    errors.AgentLost("rack3-07", "its agent was silent for 130 s"),
    errors.SlotTaken("job fraud (process 4711)", job="job fraud", pid=4711, since=1.7e9, waited_s=60.0),
    errors.UnreadableMeasurement(Path("one.measurement.gz"), "it is cut short", remedy="measure again"),
)


def every_kind(base: type[ServefitError]) -> set[type[ServefitError]]:
    return {base}.union(*(every_kind(kind) for kind in base.__subclasses__()))


def test_every_error_has_an_example_here() -> None:
    assert {type(error) for error in ONE_OF_EACH} == {
        kind for kind in every_kind(ServefitError) if kind.__module__ == "servefit.errors"
    }


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_crosses_process_boundaries_with_its_fields(error: ServefitError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert (str(copy), copy.args) == (str(error), error.args)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_says_one_line(error: ServefitError) -> None:
    assert str(error)
    assert str(error).splitlines() == [str(error)]


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_the_tree_in_the_docstring_names_every_error(error: ServefitError) -> None:
    assert errors.__doc__ is not None
    assert type(error).__name__ in errors.__doc__


def test_the_remedy_follows_the_message() -> None:
    assert str(ServefitError("it failed", remedy="try again")) == "it failed; try again"
    assert str(ServefitError("it failed")) == "it failed"


def test_a_message_of_several_lines_becomes_one() -> None:
    error = errors.CorruptModel(Path("model.ubj"), "Check failed:\n\n  Stack trace:\r\n  [bt] (0)\n")
    assert str(error) == "cannot read a model from model.ubj: Check failed: Stack trace: [bt] (0)"


def test_a_mismatch_states_both_errors_and_the_rows() -> None:
    error = errors.OutputMismatch(
        "onnxruntime", max_abs_error=0.25, max_rel_error=2.5, rows_wrong=3, rows=100, where="missing values"
    )
    assert "on 3 of 100 rows (missing values): largest error 0.25 absolute, 2.5 relative" in str(error)


def test_a_limit_that_is_undecided_says_how_many_rows_would_decide() -> None:
    given: dict[str, Any] = {"verdict": "UNDECIDED", "found": "it drops", "rows": 300, "most_rows": 10_000}
    few = errors.LimitNotKept("b", **given, rows_needed=2995, all_rows=3295)
    assert few.remedy == "2,995 rows to judge on would decide, a payload of 3,295"
    many = errors.LimitNotKept("b", **given, rows_needed=20_000, all_rows=20_300)
    assert "more than the 10,000 that are read: allow more, or leave it out" in str(many)
    none = errors.LimitNotKept("b", **given, rows_needed=None, all_rows=None)
    assert "too close to the limit for any number of rows to tell" in str(none)


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    error = errors.SpecError.unknown("--backend", "Onnxruntme", ["onnxruntime", "treelite", "xgboost"])
    assert str(error) == "--backend: 'Onnxruntme' is not known; did you mean 'onnxruntime'?"
    assert (error.field, error.value) == ("--backend", "Onnxruntme")


def test_an_unknown_name_like_no_other_is_answered_with_all_of_them() -> None:
    error = errors.SpecError.unknown("--backend", "zzz", ["xgboost", "treelite"])
    assert str(error) == "--backend: 'zzz' is not known; known: treelite, xgboost"


def test_a_long_list_of_known_names_is_cut() -> None:
    error = errors.SpecError.unknown("profile", "zzz", [f"ml.m{number}" for number in range(20)])
    assert str(error).endswith(" and 8 more")
    assert len(str(error)) < 150


def test_no_variable_is_named_for_a_place_that_the_user_named() -> None:
    error = errors.StateError(Path("out"), "No space left on device", variable=None)
    assert str(error) == "cannot write out: No space left on device; free space, or write elsewhere"
