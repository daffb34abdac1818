from typing import Any, cast

import pytest

import servefit
from servefit.backends.variables.secret import revealed
from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.traffic import ClosedLoop
from servefit.sagemaker.sdk_types import phases_from_sdk, ranges_from_sdk, thresholds_from_sdk
from servefit.search.jobs.job import default_name
from servefit.search.request.goals import parse_goal
from servefit.search.request.job_request import (
    EnvironmentRange,
    JobRequest,
    parse_batch_sizes,
    parse_delays_us,
    parse_flat_invocations,
    with_secrets,
)
from servefit.search.request.sla import Sla


def limits(count: int) -> Sla:
    names = [f"p{rank}" for rank in range(99, 99 - count, -1)]
    return Sla(thresholds=tuple(LatencyThreshold(percentile=name, limit_ms=5.0) for name in names))


def test_a_range_of_an_environment_variable_is_read_as_typed() -> None:
    assert EnvironmentRange.parse("OMP_NUM_THREADS=1,2") == EnvironmentRange(
        variable="OMP_NUM_THREADS", values=("1", "2")
    )


def test_the_values_of_a_variable_that_looks_like_a_secret_are_hidden() -> None:
    tokens = EnvironmentRange.parse("API_TOKEN=hunter,hunter2")
    assert tokens.holds_secrets
    assert tokens.values == ("***1", "***2")
    assert "hunter" not in repr(tokens)
    assert not EnvironmentRange.parse("OMP_NUM_THREADS=1,2").holds_secrets


@pytest.mark.parametrize(
    "text", ["API_TOKEN:hunter2", "API_TOKEN=hunter2,hunter2", "API_TOKEN=hunter2,", "API-TOKEN=hunter2"]
)
def test_what_is_wrong_with_a_secret_is_said_without_it(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        EnvironmentRange.parse(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given", ["hunter2", ["hunter2"], {"hunter2"}, servefit.CategoricalParameter("hunter2")])
def test_nor_is_it_where_python_gives_it_in_another_form(given: Any) -> None:
    with pytest.raises(SpecError, match="for API_TOKEN is not a") as caught:
        ranges_from_sdk([{"API_TOKEN": given}])
    assert "hunter2" not in str(caught.value)


def test_secrets_of_one_variable_on_several_profiles_are_told_apart() -> None:
    def tokens(profile: str, *values: str) -> EnvironmentRange:
        return EnvironmentRange(variable="API_TOKEN", values=values, profiles=(profile,))

    request = JobRequest(name="job", environment=(tokens("local-1c", "a"), tokens("local-2c", "b", "a")))
    assert [one.values for one in request.environment] == [("***1",), ("***2", "***1")]
    [alone] = JobRequest(name="job", environment=(tokens("local-1c", "a"),)).environment
    assert alone.values == ("***",)


def test_a_variable_may_be_marked_as_a_secret_and_left_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "hunter2")
    monkeypatch.delenv("YOURS", raising=False)
    flags = EnvironmentRange.parse("FLAG=on,off")
    marked = with_secrets([flags, EnvironmentRange.parse("OTHER=1")], ["FLAG", "MINE"])
    assert [(one.variable, one.values) for one in marked] == [
        ("FLAG", ("***1", "***2")),
        ("OTHER", ("1",)),
        ("MINE", ("***",)),
    ]
    assert revealed({one.variable: one.values[0] for one in marked}) == {"FLAG": "on", "OTHER": "1", "MINE": "hunter2"}
    with pytest.raises(SpecError, match="secret_env: 'YOURS' has no value; set the variable"):
        with_secrets([flags], ["YOURS"])


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
        "OMP_NUM_THREADS=1,01",
        "OMP_NUM_THREADS=-1",
        "OMP_NUM_THREADS=1.5",
        "MODEL_SERVER_WORKERS=two",
        "FLAG=on,,off",
        "FLAG=on,on",
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
        ("budget", {"budget_s": float("nan")}),
        ("budget", {"budget_s": float("inf")}),
        ("max_tests", {"max_tests": 1.5}),
        ("max_parallel_tests", {"max_parallel_tests": True}),
        ("budget", {"budget_s": 119.0, "phases": ClosedLoop.constant(users=1, duration_s=120)}),
        ("max_parallel_tests", {"max_parallel_tests": 0}),
        ("max_parallel_tests", {"max_parallel_tests": 3, "max_tests": 2}),
        ("cost_weight", {"cost_weight": 1.1}),
        ("cost_weight", {"cost_weight": float("nan")}),
        ("batch", {"batch_sizes": (1, 0)}),
        ("batch", {"batch_sizes": (8, 8)}),
        ("batch_delay", {"batch_delays_us": (-1,)}),
        ("batch_delay", {"batch_delays_us": (0, 0)}),
        ("batch_delay", {"batch_sizes": (1,), "batch_delays_us": (0, 1000)}),
        ("sla", {"sla": limits(6), "phases": ClosedLoop.constant(users=1, duration_s=1)}),
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
        {"max_parallel_tests": 2},
        {"batch_sizes": (1,)},
        {"batch_delays_us": (0,)},
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


def test_limits_that_are_given_are_kept_to() -> None:
    phases = ClosedLoop.constant(users=1, duration_s=120)
    for traffic in (None, phases):
        request = JobRequest(name="job", budget_s=300.0, max_tests=4, phases=traffic)
        assert (request.time_limit_s, request.test_limit) == (300.0, 4)
    assert JobRequest(name="job", phases=phases, budget_s=300.0).test_limit is None
    assert JobRequest(name="job", max_tests=4).time_limit_s == JobRequest(name="job").time_limit_s


def test_phases_may_come_with_a_rate_with_limits_and_with_just_enough_time() -> None:
    phases = ClosedLoop.constant(users=1, duration_s=120)
    sla = Sla(thresholds=limits(5).thresholds, rate_per_s=5)
    assert JobRequest(name="job", sla=sla, phases=phases, budget_s=120.0).phases == phases
    assert len(JobRequest(name="job", sla=limits(6)).sla.thresholds) == 6


@pytest.mark.parametrize("text", ["Stop", "stop", "CONTINUE"])
def test_what_happens_once_invocations_are_flat_is_read_in_any_case(text: str) -> None:
    assert parse_flat_invocations(text) == text.capitalize()


def test_anything_else_for_flat_invocations_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        parse_flat_invocations("pause")
    assert caught.value.field == "flat_invocations"


def test_lists_of_batch_sizes_and_delays_are_read_as_typed() -> None:
    assert parse_batch_sizes("1, 8,32") == (1, 8, 32)
    assert parse_delays_us("0, 500us,1ms") == (0, 500, 1000)


@pytest.mark.parametrize("text", ["", "1,,8", "1.5", "-1", "eight"])
def test_batch_sizes_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_batch_sizes(text)
    assert caught.value.field == "batch"


@pytest.mark.parametrize("text", ["", "0,,1ms", "5", "-1ms", "soon"])
def test_delays_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_delays_us(text)
    assert caught.value.field == "batch_delay"


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a\n", "a" * 64, "Ä"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        JobRequest(name=name)
    assert caught.value.field == "name"


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
        ("sla", {"model_latency_thresholds": [servefit.ModelLatencyThreshold("P100", 100)]}),
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
        ("stairs", {"phases": [], "stairs": servefit.Stairs(1, 1, 1)}),
    ],
)
def test_python_arguments_of_the_wrong_kind_are_refused_before_anything_is_opened(
    field: str, asked: dict[str, Any]
) -> None:
    with pytest.raises(SpecError) as caught:
        servefit.right_size("no-such-model", **asked)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("supported_instance_types", {"supported_instance_types": []}),
        ("backends", {"backends": ()}),
        ("batch_sizes", {"batch_sizes": []}),
        ("batch_delays_us", {"batch_delays_us": []}),
        ("phases", {"phases": []}),
        ("model_latency_thresholds", {"model_latency_thresholds": []}),
        ("hyperparameter_ranges", {"hyperparameter_ranges": []}),
        ("hyperparameter_ranges", {"hyperparameter_ranges": [{}]}),
        (
            "hyperparameter_ranges",
            {"hyperparameter_ranges": [{"instance_types": servefit.CategoricalParameter(["local-1c"])}]},
        ),
        ("FLAG", {"hyperparameter_ranges": [{"FLAG": servefit.CategoricalParameter([])}]}),
    ],
)
def test_an_empty_list_is_not_taken_for_one_that_was_left_out(field: str, asked: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"is empty.*; leave it out, or name at least one") as caught:
        servefit.right_size("no-such-model", **asked)
    assert caught.value.field == field


def test_the_endpoint_is_deployed_unless_somebody_says_otherwise_or_nothing_may_be_measured_over_http() -> None:
    assert JobRequest(name="job").deployment == "endpoint"
    assert JobRequest(name="job", over_http=False).deployment == "library"
    for over_http in (True, False):
        assert JobRequest(name="job", deploy="library", over_http=over_http).deployment == "library"
    assert JobRequest(name="job", deploy="endpoint").deployment == "endpoint"


def test_an_endpoint_that_may_not_be_measured_over_http_is_refused() -> None:
    with pytest.raises(SpecError, match="cannot be combined with deploying the endpoint") as caught:
        JobRequest(name="job", deploy="endpoint", over_http=False)
    assert (caught.value.field, caught.value.remedy) == ("http", "deploy the library, or leave it out")


def test_what_is_deployed_asks_for_nothing_that_sagemaker_calls_advanced() -> None:
    for deployed in ("endpoint", "library"):
        assert JobRequest(name="job", deploy=deployed).job_type == "Default"


def test_what_is_left_out_asks_nothing() -> None:
    assert (phases_from_sdk(None), thresholds_from_sdk(None), ranges_from_sdk(None)) == (None, (), ())


def test_a_made_up_name_is_a_legal_one() -> None:
    for source in ("/a/b/my model (1).ubj", "....", object()):
        assert JobRequest(name=default_name(source)).name
