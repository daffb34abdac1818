"""What is asked of arrivals, and at which rate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.shape_packages import DESCRIBE, EVENLY, install_shape, shape_source

from servefit.errors import SpecError
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.search.request.arrivals import cycle_s, resolve_arrivals
from servefit.search.request.config_file import config_text, parse_config, read_config
from servefit.search.request.job_request import JobRequest
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import CONFIRMING, SCREENING, min_test_s

if TYPE_CHECKING:
    from pathlib import Path

AT_50 = Sla(thresholds=parse_sla("p95=10ms"), rate_per_s=50)
NO_RATE = Sla(thresholds=parse_sla("p95=10ms"))


def asked(arrivals: str, sla: Sla = AT_50, **more: Any) -> JobRequest:
    return resolve_arrivals(JobRequest(name="job", sla=sla, arrivals=arrivals, **more))


def test_the_text_of_arrivals_is_kept_in_full() -> None:
    assert asked("sine").arrivals == "sine:amplitude=0.5,period=4s"
    assert asked("poisson") == JobRequest(name="job", sla=AT_50)
    assert resolve_arrivals(asked("sine")) == asked("sine")


def test_arrivals_with_a_rate_of_their_own_come_at_that_unless_another_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("0\n0.1\n0.2\n")
    replay = f"replay:{tmp_path}/trace.csv"
    assert asked("ramp:from=100/s,to=500/s", NO_RATE).sla == replace(NO_RATE, rate_per_s=300)
    assert asked(replay, NO_RATE).sla.rate_per_s == pytest.approx(10)
    assert asked(f"{replay},speed=4", NO_RATE).sla.rate_per_s == pytest.approx(40)
    assert asked(replay, AT_50).sla == AT_50


@pytest.mark.parametrize("arrivals", ["constant", "sine", "bursts"])
def test_other_arrivals_need_a_rate(arrivals: str) -> None:
    with pytest.raises(SpecError, match="says how a rate arrives, and there is none; give a rate"):
        asked(arrivals, NO_RATE)
    assert asked(arrivals).sla == AT_50


@pytest.mark.parametrize(
    ("arrivals", "words"),
    [
        ("sinus", "'sinus' is not known; did you mean 'sine'"),
        ("replay:/nowhere/trace.csv", "'/nowhere/trace.csv' cannot be read: No such file"),
        ("sine:period=6s", "take 6 s to show all that they do, and a search of 42 s has 5.25 s for a run; give 48s"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(arrivals: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        asked(arrivals)
    assert caught.value.field == "arrivals"
    assert words in str(caught.value)


def test_with_more_time_longer_cycles_fit() -> None:
    request = asked("sine:period=6s", budget_s=48)
    assert cycle_s(request) == 6
    assert min_test_s(request) == pytest.approx(min_test_s(replace(request, arrivals="poisson")) + 5.5)


def test_tests_take_a_cycle_at_least() -> None:
    assert SCREENING.covering_cycle(0) == SCREENING
    shown = CONFIRMING.covering_cycle(4.0)
    assert (shown.at_rate_s, shown.at_rate_max_s, shown.capacity_s) == (
        4.0,
        CONFIRMING.at_rate_max_s,
        CONFIRMING.capacity_s,
    )
    assert SCREENING.covering_cycle(4.0).at_rate_max_s == 4.0


def test_a_job_whose_package_or_trace_is_gone_can_be_read() -> None:
    request = JobRequest(name="job", sla=AT_50, arrivals="tides:moon=full")
    assert cycle_s(replace(request, sla=NO_RATE)) == 0
    with pytest.raises(SpecError, match="'tides' is not known"):
        cycle_s(request)


def test_a_file_says_arrivals_as_the_command_line_does(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("rate: 5/s\narrivals: replay:access.log,speed=2\n")
    config = read_config(tmp_path / "job.yaml")
    assert config.arrivals == f"replay:{tmp_path}/access.log,speed=2,loop=yes"
    request = config.request("job")
    (tmp_path / "saved.yaml").write_text(config_text(request, model=None, folder=tmp_path))
    assert read_config(tmp_path / "saved.yaml").request("job") == request


@pytest.mark.parametrize(
    ("arrivals", "written"),
    [
        ("replay:FOLDER/trace.csv,speed=2", "replay:trace.csv,speed=2"),
        ("replay:FOLDER/a, b.csv,loop=no", "replay:a, b.csv,loop=no"),
        ("replay:/elsewhere/trace.csv", "replay:/elsewhere/trace.csv"),
        ("replay:FOLDER/speed=2", "replay:FOLDER/speed=2,speed=1,loop=yes"),
        ("sine:amplitude=50%,period=4s", "sine"),
        ("sine:period=1s", "sine:period=1s"),
        ("tides:moon=full", "tides:moon=full"),
    ],
)
def test_arrivals_are_written_as_they_are_typed(arrivals: str, written: str, tmp_path: Path) -> None:
    arrivals, written = (text.replace("FOLDER", str(tmp_path)) for text in (arrivals, written))
    full = arrivals if arrivals.startswith("tides") else str(arrivals_named(arrivals))
    request = JobRequest(name="job", sla=AT_50, arrivals=full)
    text = config_text(request, model=None, folder=tmp_path)
    assert parse_config(text.encode(), "job.yaml").arrivals == written if written[:5] != "tides" else written in text
    assert "rate: 50/s" in text


@pytest.mark.parametrize(
    ("more", "times", "words"),
    [
        ("", "def times_ns(self, **_): sys.exit(1)", "times_ns ended Python"),
        ("", "def times_ns(self, **_): return None", "are no array of times"),
        ("", EVENLY + "[::10]", "come at 10 % of the rate that is asked"),
        ("cycle_s = math.nan", EVENLY, "cycle_s is nan"),
        ("def describe(self): 1 / 0", EVENLY, "describe raised ZeroDivisionError"),
    ],
)
def test_a_shape_of_a_package_is_tried_before_a_job_or_a_load_begins(
    more: str, times: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    describe = "" if "describe" in more else DESCRIBE
    source = shape_source("stampede", more=more, times=times, describe=describe)
    install_shape(tmp_path, monkeypatch, "crowds", "stampede", source)
    with pytest.raises(SpecError, match=f"^arrivals: 'stampede' of crowds 1.0 .*{words}"):
        asked("stampede")
    with pytest.raises(SpecError, match=f"^arrivals: 'stampede' of crowds 1.0 .*{words}"):
        LoadRequest(sla=AT_50, arrivals="stampede")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arrivals: sinus", "arrivals: 'sinus' is not known"),
        ("arrivals: 'sine:period=5'", "arrivals.period: '5' has no unit"),
        ("arrivals: ''", "arrivals"),
        ("arrivals: [sine]", "arrivals"),
    ],
)
def test_arrivals_of_a_file_that_make_no_sense_are_refused_with_its_name(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        read_config(tmp_path / "job.yaml")
    assert f"{tmp_path}/job.yaml: {words}" in str(caught.value)


def test_a_load_comes_in_any_shape_at_a_rate_or_looks_for_the_highest_one() -> None:
    at_a_rate = LoadRequest(sla=AT_50, arrivals="sine:period=8s")
    assert at_a_rate.arrivals == "sine:amplitude=0.5,period=8s"
    assert at_a_rate.open_loop().duration_s == 8
    own = LoadRequest(arrivals="steps:rates=1/s+5/s,each=1s")
    assert own.open_loop().rate_per_s == 3
    assert own.max_duration_s == 4
    search = LoadRequest(sla=NO_RATE, arrivals="sine:period=1s")
    assert search.searches
    assert search.sla.rate_per_s is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arrivals": "sine"}, "says how a rate arrives"),
        ({"arrivals": "sine", "users": 3}, "says how a rate arrives"),
        ({"arrivals": "ramp:from=0,to=5/s", "users": 3}, "says how a rate arrives"),
        ({"arrivals": "sine:period=10s", "sla": NO_RATE}, "a search of 30 s has 3.75 s for a run"),
        ({"arrivals": "often", "sla": AT_50}, "'often' is not known"),
        ({"arrivals": "sine:period=1h", "sla": AT_50}, "give a duration"),
    ],
)
def test_a_load_in_a_shape_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        LoadRequest(**options)
    assert caught.value.field == "arrivals"
    assert words in str(caught.value)
