"""The same mistake in a job reads the same on the command line, in a job file and in Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import servefit as sf
from servefit.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

MISTAKES: list[tuple[list[str], dict[str, Any]]] = [
    (["--rate", "500"], {"rate": "500"}),
    (["--rate", "-5/s"], {"rate": "-5/s"}),
    (["--rate", "+5/s"], {"rate": "+5/s"}),
    (["--budget", "60"], {"budget": "60"}),
    (["--budget", "soon"], {"budget": "soon"}),
    (["--wait", "5"], {"wait": "5"}),
    (["--sla", "p95=10"], {"sla": ["p95=10"]}),
    (["--sla", "median=10ms"], {"sla": ["median=10ms"]}),
    (["--sla", "p95"], {"sla": ["p95"]}),
    (["--goal", "latncy"], {"goal": "latncy"}),
    (["--flat-invocations", "end"], {"flat_invocations": "end"}),
    (["--max-tests", "0"], {"max_tests": 0}),
    (["--max-tests", "x"], {"max_tests": "x"}),
    (["--cost-weight", "2.5"], {"cost_weight": 2.5}),
    (["--seed", "-1"], {"seed": -1}),
    (["--seed", "4294967296"], {"seed": 4294967296}),
    (["--rows-per-request", "0"], {"rows_per_request": 0}),
    (["--batch", "8,0"], {"batch": [8, 0]}),
    (["--batch-delay", "0,5"], {"batch_delay": "0,5"}),
    (["--phase", "users=1,duration=5"], {"phase": [{"users": 1, "duration": "5"}]}),
    (["--phase", "users=1,spawn=2,duration=5s"], {"phase": [{"users": 1, "spawn": "2", "duration": "5s"}]}),
    (["--phase", "users=0,duration=1s"], {"phase": [{"users": 0, "duration": "1s"}]}),
    (["--stairs", "steps=0,users=1,duration=1s"], {"stairs": {"steps": 0, "users": 1, "duration": "1s"}}),
    (["--env", "A-B=1"], {"env": [{"variable": "A-B", "values": ["1"]}]}),
    (["--env", "OMP_NUM_THREADS=x"], {"env": [{"variable": "OMP_NUM_THREADS", "values": ["x"]}]}),
    (["--secret-env", "A-B"], {"secret_env": ["A-B"]}),
    (["--name", "a/b"], {"name": "a/b"}),
    (["--profile", ""], {"profile": [""]}),
    (["--arrivals", "sine:period=5"], {"arrivals": "sine:period=5"}),
    (["--deploy", "cloud"], {"deploy": "cloud"}),
    (["--deploy", "Library"], {"deploy": "Library"}),
    (["--deploy", "endpoint", "--no-http"], {"deploy": "endpoint", "http": False}),
    (["--max-tests", "1", "--max-parallel-tests", "2"], {"max_tests": 1, "max_parallel_tests": 2}),
]


@pytest.mark.parametrize(
    ("typed", "document"), MISTAKES, ids=lambda given: " ".join(given) if type(given) is list else ""
)
def test_a_mistake_reads_the_same_wherever_it_is_made(
    servefit: Servefit, tmp_path: Path, typed: list[str], document: dict[str, Any]
) -> None:
    with pytest.raises(SpecError) as in_python:
        sf.recommend("model.ubj", **document)
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(document))  # which is YAML, too
    on_command_line = servefit("recommend", "model.ubj", "--quiet", *typed)
    in_file = servefit("recommend", "model.ubj", "--quiet", "--config", file)
    assert on_command_line.stderr == f"servefit: {in_python.value}\n"
    assert in_file.stderr == f"servefit: {file}: {in_python.value}\n"
    assert on_command_line.status == in_file.status == 2


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("profile model.ubj --threads x", "threads: 'x' is not a whole number"),
        ("profile model.ubj --threads 0", "threads: 0 is not above zero"),
        ("profile model.ubj --workers 2000", "workers: 2000 is above 1024"),
        ("load http://127.0.0.1:9 --users 1.5", "users: '1.5' is not a whole number"),
        ("serve --model model.ubj --port x", "port: 'x' is not a whole number"),
        ("recommend model.ubj --cost-weight nan", "cost_weight: nan is not finite"),
        ("recommend model.ubj --cost-weight half", "cost_weight: 'half' is not a number"),
        ("jobs --most 0", "most: 0 is not above zero"),
        ("jobs --most x", "most: 'x' is not a whole number"),
    ],
)
def test_numbers_have_these_words_in_every_command(servefit: Servefit, typed: str, words: str) -> None:
    ended = servefit(*typed.split())
    assert (ended.status, ended.stdout, ended.stderr) == (2, "", f"servefit: {words}\n")
