"""``servefit export`` writes a folder that starts with nothing but an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import xgboost
import yaml
from tests.cli.conftest import COMMAND, model_gone

from servefit.serving.config import EndpointConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Servefit, Sources

pytestmark = pytest.mark.integration

# Where pip finds packages, and what it has fetched before; everything else stays behind.
_FOR_PIP = ("PIP_CACHE_DIR", "PIP_CERT", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "SSL_CERT_FILE", "XDG_CACHE_HOME")
_FOR_PIP_TOO = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@pytest.fixture(scope="session")
def bundle(servefit: Servefit, sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model on onnxruntime, on two workers."""
    folder = tmp_path_factory.mktemp("elsewhere") / "bundle"
    options = ("--backend", "onnxruntime", "--workers", "2", "--profile", "local-1c", "--env", "GREETING=hello")
    ended = servefit("export", "--model", sources.xgboost, *options, "-o", folder, "--format", "json")
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert (document["name"], document["backend"], document["workers"]) == ("booster", "onnxruntime", 2)
    assert document["start"] == str(folder / "run")
    assert any(pin.startswith("onnxruntime==") for pin in document["requirements"])
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a user who has a Python and nothing else: an empty virtual environment."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "python", with_pip=False, symlinks=True)
    cache = os.environ.get("PIP_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "pip"
    kept = {name: os.environ[name] for name in (*_FOR_PIP, *_FOR_PIP_TOO) if name in os.environ}
    return {
        **kept,
        "PATH": f"{folder / 'python' / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "PIP_CACHE_DIR": str(cache),
    }


@pytest.fixture(scope="session")
def installed(bundle: Path, environment: dict[str, str]) -> Path:
    """The bundle, once it has made its own environment from the lock."""
    done = subprocess.run([bundle / "run", "install"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return bundle


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """The bundle in a folder of its own, where nobody has made an environment."""
    return shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns(".venv"))


@pytest.mark.thorough
def test_the_lock_has_digests_that_what_is_installed_has_to_have(
    bundle: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    lock = (bundle / "requirements.lock").read_text()
    locked = re.findall(r"^(\S+==\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", lock, re.MULTILINE)
    assert all(hashes for _, hashes in locked)
    changed = shutil.copytree(bundle, tmp_path / "changed", ignore=shutil.ignore_patterns(".venv"))
    # One package is enough.
    [httptools] = [f"{pin}{hashes}\n" for pin, hashes in locked if pin.startswith("httptools==")]
    (changed / "requirements.lock").write_text(re.sub(r"sha256:....", "sha256:0000", httptools))
    done = subprocess.run([changed / "run", "install"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not (changed / ".venv").exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ask(port: int, path: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers={"Content-Type": "text/csv"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@contextmanager
def started(bundle: Path, port: int, *arguments: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The bundle, started from another folder and ready, on a machine that sets the variable which is not on the list
    itself."""
    process = subprocess.Popen(
        [bundle / "run", *arguments],
        env={**environment, "GREETING": "hello"},
        cwd="/",
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            for _ in range(300):
                with suppress(OSError):
                    ask(port, "/ping")
                    break
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()


@pytest.mark.thorough
def test_run_serves_the_models_own_predictions_with_nothing_but_the_bundle_and_python(
    installed: Path, sources: Sources, environment: dict[str, str]
) -> None:
    port = free_port()
    rows = np.loadtxt(sources.payload, delimiter=",", dtype=np.float32)
    booster = xgboost.Booster(model_file=sources.xgboost)
    with started(installed, port, "serve", "--port", str(port), environment=environment) as process:
        answer = ask(port, "/invocations", sources.payload.read_bytes())
        predictions = [float(line) for line in answer.split()]
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "servefit.serving.worker" in child.cmdline()]
        environments = [worker.environ() for worker in workers]
        mapped = [Path(mapping.path) for worker in workers for mapping in worker.memory_maps()]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert predictions == pytest.approx(booster.predict(xgboost.DMatrix(rows)).tolist(), rel=1e-5)
    assert len(workers) == 2
    assert all(
        (environment["GREETING"], environment["OMP_NUM_THREADS"]) == ("hello", "1") for environment in environments
    )
    assert "making the Python environment" not in said, "that was done before"
    libraries = [path for path in mapped if "site-packages" in path.parts]
    assert libraries
    assert all(path.is_relative_to(installed / ".venv") for path in libraries)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({"SAGEMAKER_BIND_TO_PORT": "PORT", "PORT": "1"}, ("serve",)),
        ({"SERVEFIT_PORT": "PORT", "SERVEFIT_HOST": "localhost", "SAGEMAKER_BIND_TO_PORT": "1"}, ()),
    ],
)
def test_run_listens_where_the_platform_says(
    copied: Path, variables: dict[str, str], arguments: tuple[str, ...]
) -> None:
    port = free_port()
    environment = {"PATH": "/usr/bin:/bin", "SERVEFIT_PYTHON": sys.executable}
    told = {name: str(port) if value == "PORT" else value for name, value in variables.items()}
    with started(copied, port, *arguments, environment=environment | told) as process:
        assert json.loads(ask(port, "/v2/models/booster"))["name"] == "booster"
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.mark.thorough
def test_run_takes_an_interpreter_that_has_everything_and_makes_none(copied: Path) -> None:
    port = free_port()
    environment = {"PATH": "/usr/bin:/bin", "SERVEFIT_PYTHON": sys.executable, "PORT": str(port)}
    with started(copied, port, environment=environment) as process:
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert not (copied / ".venv").exists()


@pytest.mark.thorough
def test_an_environment_that_cannot_be_made_leaves_nothing_behind(copied: Path, tmp_path: Path) -> None:
    # A Python as some systems have it: its environments come without pip.
    crippled = tmp_path / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    crippled.parent.mkdir()
    real = Path(sys.executable).resolve()
    crippled.write_text(f'#!/bin/sh\n[ "$2" = venv ] && set -- "$@" --without-pip\nexec {real} "$@"\n')
    crippled.chmod(0o755)
    environment = {"PATH": f"{crippled.parent}:/usr/bin:/bin"}
    done = subprocess.run([copied / "run"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "No module named pip" in done.stderr
    assert done.stderr.splitlines()[-1] == "run: what requirements.lock lists could not be installed"
    assert not [path.name for path in copied.iterdir() if path.name.startswith(".venv")]


@pytest.mark.thorough
def test_a_bundle_says_whether_it_is_healthy(copied: Path) -> None:
    port = free_port()
    environment = {
        "PATH": "/usr/bin:/bin",
        "SERVEFIT_PYTHON": sys.executable,
        "PORT": str(port),
        "http_proxy": "http://no",
    }

    def health(*options: str, **more: str) -> tuple[int, str]:
        command = [str(copied / "run"), "health", *options]
        ended = subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr

    assert health() == (1, f"run: no answer from 127.0.0.1 port {port}: [Errno 111] Connection refused\n")
    with started(copied, port, environment=environment):
        assert health() == (0, "")
        assert health("--port", str(port), PORT="1") == (0, "")
        assert health("--port", "1")[0] == 1


@pytest.mark.usefixtures("kept")
@pytest.mark.thorough
def test_where_no_index_can_be_asked_that_is_said_and_exported_all_the_same(servefit: Servefit, tmp_path: Path) -> None:
    ended = servefit("export", "listed", "-o", tmp_path / "new", "--quiet", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert ended.status == 0
    assert ended.stderr == (
        "warning: requirements.lock has no digests: pip is told to ask no package index; "
        "export again where pip reaches its package index, or with --wheels\n"
    )


def test_what_a_job_recommends_is_exported(servefit: Servefit, kept: dict[str, Any], tmp_path: Path) -> None:
    best = kept["recommendations"][0]
    folder = tmp_path / "bundle"
    ended = servefit("export", f"listed/{best['id']}", "-o", folder)
    assert ended.status == 0, ended.stderr
    assert "instance profile" in ended.stdout
    config = EndpointConfig.read(folder / "endpoint.json")
    assert config.artifact.backend == best["backend"]
    assert config.max_batch == best["settings"]["max_batch"]
    assert config.batch_delay_us == best["settings"]["batch_delay_us"]
    assert str(config.workers) == best["environment"]["MODEL_SERVER_WORKERS"]
    assert str(config.settings.threads) == best["environment"]["OMP_NUM_THREADS"]
    [deployment, _] = yaml.safe_load_all((folder / "kubernetes.yaml").read_text())
    resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert int(resources["requests"]["memory"].removesuffix("Mi")) < 1000, "two workers of a small model"


@pytest.mark.usefixtures("kept")
def test_what_cannot_be_exported_is_said_in_one_line(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    failed = servefit("recommend", sources.xgboost, "--backend", "lightgbm", "--name", "failed", "--quiet")
    assert failed.status == 4
    (tmp_path / "precious").write_text("mine")
    for arguments, said in (
        (("nothing", "-o", tmp_path / "new"), "job: 'nothing' is not known"),
        (("failed", "-o", tmp_path / "new"), "job: 'failed' has no recommendation: nothing was measured"),
        (("listed", "-o", tmp_path), "exists and is not an empty folder"),
    ):
        ended = servefit("export", "--quiet", *arguments)
        assert (ended.status, ended.stdout) == (2, "")
        [line] = ended.stderr.splitlines()
        assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_model_that_is_gone_cannot_be_exported(
    servefit: Servefit, state: Path, kept: dict[str, Any], sources: Sources, tmp_path: Path
) -> None:
    with model_gone(sources.xgboost, state):
        ended = servefit("export", "--quiet", "listed", "-o", tmp_path / "new")
    assert ended.status == 2
    assert "it is gone, or not what it was when it was measured" in ended.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.thorough
def test_an_interrupted_export_leaves_nothing_behind(state: Path, sources: Sources, tmp_path: Path) -> None:
    # pip waits for an index that never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = ("--backend", "xgboost", "--wheels", "-o", str(tmp_path / "bundle"), "--quiet")
        process = subprocess.Popen(
            [*COMMAND, "export", "--model", str(sources.xgboost), *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SERVEFIT_HOME": str(state), "PIP_INDEX_URL": index, "PIP_FIND_LINKS": ""},
        )
        with process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            assert len(list(tmp_path.iterdir())) == 1
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
            connection.close()
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
