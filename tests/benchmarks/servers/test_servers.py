"""The benchmark of servers: parsing of wrk's output, summaries of runs, requests, and no process left behind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.servers.contenders import FORMS, body, free_ports, prediction
from benchmarks.servers.environments import versions
from benchmarks.servers.running import stop, tree
from benchmarks.servers.summary import Run, ratios, representative, summary
from benchmarks.servers.wrk import Found, parse

if TYPE_CHECKING:
    from benchmarks.servers.contenders import Form, Serves

OUTPUT = """Running 2s test @ http://127.0.0.1:18000/invocations
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.55ms  401.96us   9.51ms   87.53%
    Req/Sec    10.11k   631.51    11.12k    75.00%
  20128 requests in 2.00s, 4.13MB read
Requests/sec:  10059.11
Transfer/sec:      2.06MB

{"requests": 20128, "duration_us": 2001000, "p50_us": 1480, "p99_us": 3151, "max_us": 9510, "errors": ERRORS}
"""
NONE = '{"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}'


def found(rate_per_s: float, *, p50_us: int = 100, p99_us: int = 200, **errors: int) -> Found:
    return Found(
        requests=round(2 * rate_per_s),
        duration_us=2_000_000,
        p50_us=p50_us,
        p99_us=p99_us,
        max_us=1000,
        errors=errors,
        client_cpu=0.1,
    )


def a_run(server: str, rate_per_s: float, *, number: int = 0, connections: int = 16, **of_wrk: Any) -> Run:
    serves: Serves = "servefit" if server.startswith("servefit") else "onnxruntime" if "onnx" in server else "xgboost"
    return Run(
        server=server,
        serves=serves,
        round=number,
        connections=connections,
        found=found(rate_per_s, **of_wrk),
        server_cpu=1.0,
    )


def test_the_figures_of_wrk_are_read_after_its_own_report() -> None:
    read = parse(OUTPUT.replace("ERRORS", NONE), client_cpu_s=0.2)
    assert read.rate_per_s == pytest.approx(10059, abs=1)
    assert (read.p50_us, read.p99_us, read.errors) == (1480, 3151, {})
    assert read.client_cpu == pytest.approx(0.1, abs=0.001)


def test_errors_of_a_run_are_kept_by_kind() -> None:
    errors = NONE.replace('"status": 0', '"status": 7')
    read = parse(OUTPUT.replace("ERRORS", errors), client_cpu_s=0.2)
    assert read.errors == {"status": 7}


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:18000 Connection refused\n"])
def test_a_wrk_without_figures_is_an_error_that_quotes_it(output: str) -> None:
    with pytest.raises(RuntimeError, match="no figures") as caught:
        parse(output, client_cpu_s=0.0)
    assert output.strip() in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=40))
def test_a_request_holds_the_values_of_its_row_on_one_line(form: Form, values: list[float]) -> None:
    request = body(form, ",".join(map(str, values)))
    assert "\n" not in request
    sent = json.loads(request)
    if form == "open inference":
        (tensor,) = sent["inputs"]
        assert tensor["shape"] == [1, len(values)]
        assert tensor["data"] == values
    else:
        assert sent == {"instances": [values]}


@pytest.mark.parametrize(
    "answer",
    [
        [0.25],
        {"predictions": [0.25]},
        {"predictions": [[0.25]]},
        {"model_name": "fraud", "outputs": [{"name": "predict", "shape": [1, 1], "data": [0.25]}]},
    ],
)
def test_every_form_of_an_answer_gives_its_prediction(answer: Any) -> None:
    assert prediction(answer) == 0.25


@pytest.mark.parametrize("answer", [[], [0.25, 0.5], {"predictions": []}])
def test_an_answer_of_another_number_of_predictions_is_refused(answer: Any) -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        prediction(answer)


def test_a_run_with_errors_counts_for_nothing_and_is_shown() -> None:
    runs = [a_run("MLServer", 100.0), a_run("MLServer", 900.0, number=1, status=3), a_run("servefit", 1000.0)]
    cell = summary(runs)["servers"]["MLServer"]["16"]
    assert cell["rate_per_s"] == 100.0
    assert cell["discarded"] == [{"status": 3}]


def test_ratios_are_to_the_best_server_of_the_same_round() -> None:
    runs = [
        *(a_run("servefit", rate, number=number) for number, rate in enumerate((1000.0, 600.0, 900.0))),
        *(a_run("MLServer", rate, number=number) for number, rate in enumerate((100.0, 50.0, 90.0))),
        *(a_run("LitServe", rate, number=number) for number, rate in enumerate((80.0, 60.0, 10.0))),
    ]
    assert ratios(runs, "servefit", "xgboost")["16"] == {
        "median": 10.0,
        "rounds": [10.0, 10.0, 10.0],
        "best": ["LitServe", "MLServer"],
    }


def test_a_round_without_a_competitor_gives_no_ratio() -> None:
    runs = [a_run("servefit", 1000.0), a_run("MLServer", 100.0, read=1)]
    assert ratios(runs, "servefit", "xgboost")["16"] == {"median": None, "rounds": [], "best": []}


def test_one_configuration_stands_for_servefit_in_everything() -> None:
    runs = [
        a_run("servefit, quick alone", 500.0, p99_us=100),
        a_run("servefit, quick alone", 5000.0, connections=1, p50_us=50),
        a_run("servefit, quick together", 900.0, p99_us=1500),
        a_run("servefit, quick together", 2000.0, connections=1, p50_us=140),
        a_run("MLServer", 100.0),
        a_run("FastAPI + onnxruntime", 300.0),
    ]
    assert representative(runs) == "servefit, quick together"
    reached = [(target["found"], target["reached"]) for target in summary(runs)["targets"]]
    assert reached == [(9.0, True), (3.0, False), (140, True), (1500, False)]


def test_what_was_not_measured_is_not_reached() -> None:
    targets = summary([a_run("servefit", 1000.0)])["targets"]
    assert [target["reached"] for target in targets[:3]] == [False, False, False]


@pytest.mark.parametrize("name", ["mlserver", "litserve", "bentoml", "fastapi"])
def test_servers_are_pinned_with_the_same_xgboost_and_the_same_http_stack(name: str) -> None:
    pinned, reference = versions(name), versions("fastapi")
    assert pinned[name]
    for package in ("xgboost", "numpy", "uvicorn", "uvloop", "httptools"):
        assert pinned[package] == reference[package]


@pytest.mark.integration
def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    port = next(free_ports())
    with socket.create_server(("127.0.0.1", port)):
        assert next(free_ports(port)) > port


@pytest.mark.integration
def test_processes_are_ended_in_whatever_session_they_are() -> None:
    child = "import subprocess; subprocess.run(['sleep', '60'], start_new_session=True)"
    started = subprocess.Popen([sys.executable, "-c", child])
    process = psutil.Process(started.pid)
    limit = time.monotonic() + 20
    while len(tree(process)) == 1 and time.monotonic() < limit:
        time.sleep(0.01)
    everything = tree(process)
    assert len(everything) > 1
    stop(process)
    started.wait()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in everything)
