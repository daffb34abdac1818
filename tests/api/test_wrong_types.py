"""What is of another type than a function of Python takes is refused with a SpecError, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.search.autoscaling.test_scale import CONFIGURATION, job

import servefit as sf
from servefit.api.job import Job
from servefit.serving.listening import bind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import MakeTrial

FUNCTIONS: Any = sf
"""The functions, as nobody checks the types of their arguments."""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        ("scale", (5, {"rate_per_s": 1}), "job: 5 is not a job"),
        ("scale", ("../nope", {"rate_per_s": 1}), "job: '../nope' "),
        ("compile_model", ("m", 5), "backend: 5 is not text"),
        ("compile_model", ("m", ["forest"]), r"backend: \['forest'\] is not text"),
        ("compile_model", ("m", "forest", {"target": 5}), "target: 5 is not known"),
        ("compile_model", ("m", "forest", {"payload": "rows.csv"}), "payload: 'rows.csv' is not of type Payload"),
        ("summarize", (5,), "run: 5 is not of type Run"),
        ("save_measurement", (5, "unwritten"), "measurement: 5 is not of type Measurement or of type EndpointRuns"),
        ("load_endpoint", ("http://127.0.0.1:9", {"model": 5}), "model: 5 is not text"),
        ("load_endpoint", (5,), "url: 5 is not text"),
        ("load_endpoint", ("http://127.0.0.1:9", {"rate": "5/s"}), "rate: '5/s' is not a number"),
        ("load_endpoint", ("http://127.0.0.1:9", {"thresholds": 5}), "thresholds: 5 is not a list"),
        ("right_size", ({"endpoint": 5}), "endpoint: 5 is not text"),
        ("right_size", ("m", {"wait_s": "x"}), "wait: 'x' is not a number"),
        ("right_size", ("m", {"goal": 5}), "goal: 5 is not known"),
        ("right_size", ("m", {"deploy": 5}), "deploy: 5 is not text"),
        ("right_size", ("m", {"deploy": "cloud"}), "deploy: 'cloud' is not known; known: endpoint, library"),
        ("right_size", ("m", {"deploy": "endpoint", "over_http": False}), "http: False cannot be combined with"),
        ("right_size", ("m", {"flat_invocations": 5}), "flat_invocations: 5 is not text"),
        ("profile", ("m", {"backend": 5}), "backend: 5 is not text"),
        ("profile", ("m", {"profile": 5}), "profile: 5 is not text"),
        ("profile", ("m", {"seed": "x"}), "seed: 'x' is not a whole number"),
        ("profile", ("m", {"wait_s": "x"}), "wait: 'x' is not a number"),
        ("profile", ("m", {"environment": "A=1"}), "environment is not a mapping"),
        ("profile", ("m", {"options": "A=1"}), "options: 'A=1' is not a mapping"),
        ("profile", ("m", {"secret_env": "X"}), "secret_env: 'X' is not a list"),
        ("profile", ("m", {"thresholds": 5}), "thresholds: 5 is not a list"),
    ],
)
def test_a_wrong_type_is_refused_by_the_name_of_the_argument(
    function: str, arguments: tuple[Any, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").write_bytes(b"no model")
    monkeypatch.chdir(tmp_path)
    given = arguments if isinstance(arguments, tuple) else (arguments,)
    named = given[-1] if isinstance(given[-1], dict) else {}
    with pytest.raises(sf.SpecError, match=rf"^{said}"):
        getattr(FUNCTIONS, function)(*(value for value in given if value is not named), **named)
    assert not (tmp_path / "unwritten").exists()


def test_a_plot_is_named_by_its_name(trial: MakeTrial) -> None:
    found: Any = Job.from_results(job(trial(CONFIGURATION)))
    with pytest.raises(sf.SpecError, match=r"^plot: 5 is not known"):
        found.plot(5)


@pytest.mark.parametrize("headroom", ["20%", None, float("nan")])
def test_a_headroom_that_is_no_number_is_refused(trial: MakeTrial, headroom: Any) -> None:
    with pytest.raises(sf.SpecError, match=r"^headroom"):
        sf.scale(job(trial(CONFIGURATION)), rate_per_s=1, headroom=headroom)


@pytest.mark.parametrize(("port", "problem"), [(-1, "is below zero"), (70000, "is above 65535"), ("x", "is not a wh")])
def test_a_port_that_is_none_is_not_blamed_on_the_host(port: Any, problem: str) -> None:
    with pytest.raises(sf.SpecError, match=f"^port: {port!r} {problem}"):
        bind("127.0.0.1", port)


def test_a_request_can_be_given_a_time_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def recorded(*_: object, **named: Any) -> None:
        given.update(named)
        raise sf.SlotTaken("nobody", job=None, pid=None, since=None, waited_s=0)

    monkeypatch.setattr("servefit.api.recommend.run_job", recorded)
    with pytest.raises(sf.SlotTaken):
        sf.recommend("m", request=sf.JobRequest(name="x"), wait="2s", budget=None)  # type: ignore[arg-type]
    assert given["wait_s"] == 2
    with pytest.raises(sf.SpecError, match=r"^request cannot be combined with options; leave out rate, seed$"):
        sf.recommend("m", request=sf.JobRequest(name="x"), wait="2s", rate="5/s", seed=1, budget=None)  # type: ignore[arg-type]


def test_an_unknown_option_is_answered_with_options_that_there_are() -> None:
    with pytest.raises(sf.SpecError, match="is not known; known: ") as refused:
        FUNCTIONS.recommend("m", zzzzzzzzzzzz=1)
    assert "$schema" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("inputs", "Model.load(..., inputs={...})"),
        ("size", "Model.load(..., sizes={...})"),
        ("pad", "Model.load(..., pad=...)"),
        ("content_type", "Bodies(..., content_type=...)"),
    ],
)
def test_what_is_said_of_a_model_or_a_payload_is_told_where_it_goes(option: str, said: str) -> None:
    with pytest.raises(sf.SpecError) as refused:
        FUNCTIONS.recommend("m", **{option: "x"})
    assert str(refused.value).startswith(f"{option} is no option of a job; say it of the ")
    assert str(refused.value).endswith(said)


@pytest.mark.parametrize("argument", ["inputs", "sizes"])
def test_what_is_said_of_inputs_is_a_mapping(argument: str) -> None:
    with pytest.raises(sf.SpecError, match=rf"^{argument}: 'x=1' is not a mapping"):
        sf.Model.load("m.onnx", **{argument: "x=1"})  # type: ignore[arg-type]
