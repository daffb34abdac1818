from typing import Any, cast

import pytest

import servefit
from servefit.errors import SpecError
from servefit.profiler.traffic import ClosedLoop
from servefit.search.job import default_name
from servefit.search.request import EnvironmentRange, JobRequest, parse_goal
from servefit.search.sagemaker import phases_from_sdk, ranges_from_sdk, thresholds_from_sdk
from servefit.search.sla import Sla


def test_a_range_of_an_environment_variable_is_read_as_typed() -> None:
    assert EnvironmentRange.parse("OMP_NUM_THREADS=1,2") == EnvironmentRange(
        variable="OMP_NUM_THREADS", values=("1", "2")
    )


def test_the_sagemaker_prefix_of_servefits_own_variables_is_dropped_and_that_of_others_kept() -> None:
    assert EnvironmentRange.parse("SAGEMAKER_MODEL_SERVER_WORKERS=2").variable == "MODEL_SERVER_WORKERS"
    assert EnvironmentRange.parse("SAGEMAKER_SOMETHING=2").variable == "SAGEMAKER_SOMETHING"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OMP_NUM_THREADS",
        "=1",
        "1X=1",
        "OMP_NUM_THREADS=",
        "OMP_NUM_THREADS=1,1",
        "OMP_NUM_THREADS=0",
        "MODEL_SERVER_WORKERS=two",
    ],
)
def test_a_range_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        EnvironmentRange.parse(text)
    assert caught.value.field == "env"


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("name", {"name": "no spaces"}),
        ("max_tests", {"max_tests": 0}),
        ("budget", {"budget_s": -1.0}),
        ("rows_per_request", {"rows_per_request": 0}),
        ("profile", {"profiles": ("local-1c", "local-1c")}),
        ("backend", {"backends": ("xgboost", "xgboost")}),
        ("env", {"environment": (EnvironmentRange.parse("A=1"), EnvironmentRange.parse("A=2"))}),
        ("rate", {"sla": Sla(rate_per_s=5), "phases": ClosedLoop.constant(users=1, duration_s=1)}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_field_named(field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        JobRequest(**{"name": "job", **asked})
    assert caught.value.field == field


def test_a_misspelt_goal_is_answered_with_the_closest() -> None:
    with pytest.raises(SpecError, match="did you mean 'latency'"):
        parse_goal("latencey")


@pytest.mark.parametrize(
    "asked",
    [
        {"sla": Sla(rate_per_s=5)},
        {"max_tests": 3},
        {"budget_s": 9.0},
        {"phases": ClosedLoop.constant(users=1, duration_s=1)},
        {"environment": (EnvironmentRange(variable="A", values=("1",)),)},
    ],
)
def test_a_job_is_advanced_as_soon_as_anything_is_asked(asked: dict[str, Any]) -> None:
    assert JobRequest(name="job").job_type == "Default"
    assert JobRequest(name="job", **asked).job_type == "Advanced"


def test_a_job_with_phases_is_limited_by_tests_and_any_other_by_time() -> None:
    phases = ClosedLoop.constant(users=1, duration_s=120)
    assert (JobRequest(name="job", phases=phases).time_limit_s, JobRequest(name="job", phases=phases).test_limit) == (
        None,
        10,
    )
    assert JobRequest(name="job").time_limit_s is not None
    assert JobRequest(name="job").test_limit is None


def test_what_the_sagemaker_sdk_writes_is_understood() -> None:
    phases = phases_from_sdk([servefit.Phase(duration_in_seconds=120, initial_number_of_users=2, spawn_rate=2)])
    assert phases is not None
    assert phases.joins_s() == (0.0, 0.0, 30.0, 60.0, 90.0)
    (threshold,) = thresholds_from_sdk([servefit.ModelLatencyThreshold(percentile="P95", value_in_milliseconds=100)])
    assert (threshold.percentile, threshold.limit_ms) == ("p95", 100)
    ranges = ranges_from_sdk(
        [
            {
                "instance_types": servefit.CategoricalParameter(["ml.m5.large"]),
                "OMP_NUM_THREADS": servefit.CategoricalParameter(["1", "2"]),
            }
        ]
    )
    assert ranges == (EnvironmentRange(variable="OMP_NUM_THREADS", values=("1", "2"), profiles=("ml.m5.large",)),)


def test_a_range_that_is_no_categorical_parameter_is_refused() -> None:
    with pytest.raises(SpecError, match="CategoricalParameter"):
        ranges_from_sdk([{"OMP_NUM_THREADS": ["1", "2"]}])


def test_a_variable_may_vary_differently_on_different_profiles() -> None:
    small = EnvironmentRange(variable="A", values=("1",), profiles=("local-1c",))
    large = EnvironmentRange(variable="A", values=("2",), profiles=("local-2c",))
    assert JobRequest(name="job", environment=(small, large)).environment == (small, large)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("supported_instance_types", {"supported_instance_types": "ml.m5.large"}),
        ("backends", {"backends": "xgboost"}),
        ("backends", {"backends": [1]}),
        ("phases", {"phases": servefit.Phase(1, 1, 1)}),
        ("phases", {"phases": [{"duration_in_seconds": 1}]}),
        ("model_latency_thresholds", {"model_latency_thresholds": [("P95", 100)]}),
        ("sla", {"model_latency_thresholds": [servefit.ModelLatencyThreshold("P12", 100)]}),
        (
            "value_in_milliseconds",
            {"model_latency_thresholds": [servefit.ModelLatencyThreshold("P95", cast("float", "100ms"))]},
        ),
        ("max_invocations", {"max_invocations": "30000"}),
        ("job_duration_in_seconds", {"job_duration_in_seconds": "60s"}),
        ("max_tests", {"max_tests": 1.5}),
        ("rows_per_request", {"rows_per_request": "2"}),
        ("seed", {"seed": None}),
        ("hyperparameter_ranges", {"hyperparameter_ranges": {"OMP_NUM_THREADS": ["1"]}}),
        ("OMP_NUM_THREADS", {"hyperparameter_ranges": [{"OMP_NUM_THREADS": servefit.CategoricalParameter("12")}]}),
    ],
)
def test_python_arguments_of_the_wrong_kind_are_refused_before_anything_is_opened(
    field: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(SpecError) as caught:
        servefit.right_size("no-such-model", **asked)
    assert caught.value.field == field


def test_no_phases_are_as_good_as_none_given() -> None:
    assert phases_from_sdk([]) is None


def test_a_made_up_name_is_a_legal_one() -> None:
    for source in ("/a/b/my model (1).ubj", "....", object()):
        assert JobRequest(name=default_name(source)).name
