"""Programs under ``servefit api run``: real ones, with real boto3, that know of no server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.conftest import started

from servefit.aws.state.claim import claimed, holder_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

ACCOUNT = "123456789012"

STS = """
import boto3
url = "https://sts.us-east-1.amazonaws.com"
print(boto3.client("sts", region_name="us-east-1", endpoint_url=url).get_caller_identity()["Account"])
"""
"""What the SageMaker SDK does to learn who it is."""


def command_of(*command: str, options: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-m", "servefit", "api", *options, "run", "--", *command]


def variables_of(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "SERVEFIT_HOME": str(home), **more}


def run(home: Path, *command: str, options: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_of(*command, options=options),
        env=variables_of(home, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(home: Path, code: str, **settings: Any) -> list[str]:
    """The lines that a Python program prints, which ends well."""
    done = run(home, sys.executable, "-c", textwrap.dedent(code), **settings)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def is_over(home: Path, *, within_s: float = 0.0) -> bool:
    """Whether no server has the state folder, now or soon."""
    until = time.monotonic() + within_s
    while (holder := holder_of(home / "api")) is not None and time.monotonic() < until:
        time.sleep(0.1)
    return holder is None


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_program_has_a_server_that_ends_with_it(tmp_path: Path) -> None:
    address, buckets = said(
        tmp_path,
        """
        import boto3, os
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="made-here")
        print(os.environ["AWS_ENDPOINT_URL"])
        print([each["Name"] for each in s3.list_buckets()["Buckets"]])
        """,
    )
    assert address.startswith("http://127.0.0.1:")
    assert buckets == "['made-here']"
    assert (tmp_path / "api" / "s3" / "made-here").is_dir()
    assert is_over(tmp_path)


@pytest.mark.thorough
def test_the_address_of_sts_that_the_sdk_writes_down_is_answered_here_and_no_other(tmp_path: Path) -> None:
    code = """
        import boto3, os

        def address(service, url):
            return boto3.client(service, region_name="us-east-1", endpoint_url=url).meta.endpoint_url

        here = os.environ["AWS_ENDPOINT_URL"]
        print(address("sts", "https://sts.eu-central-1.amazonaws.com") == here)
        print(address("sts", "https://sts.cn-north-1.amazonaws.com.cn") == here)
        print(boto3.resource("s3", endpoint_url="http://localhost:9").meta.client.meta.endpoint_url)
        for service, url in (
            ("sts", "https://sts.amazonaws.com"),
            ("sts", "https://sts.us-east-1.amazonaws.com.example.com"),
            ("sts", "https://sts.us-east-1.vpce.amazonaws.com"),
            ("sts", "http://sts.us-east-1.amazonaws.com"),
            ("iam", "https://sts.us-east-1.amazonaws.com"),
        ):
            print(address(service, url) == url)
        del os.environ["AWS_ENDPOINT_URL"]
        print(address("sts", "https://sts.us-east-1.amazonaws.com"))
    """
    account, *addresses = said(tmp_path, STS + textwrap.dedent(code))
    assert account == ACCOUNT
    assert addresses == [
        "True",
        "True",
        "http://localhost:9",
        *["True"] * 5,
        "https://sts.us-east-1.amazonaws.com",
    ]


@pytest.mark.thorough
def test_pythons_that_the_program_starts_find_it_too(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STS!r}], check=True)"
    assert said(tmp_path, code) == [ACCOUNT]


@pytest.mark.thorough
def test_a_program_keeps_its_variables_but_those_of_other_keys(tmp_path: Path) -> None:
    names = ("AWS_ENDPOINT_URL_S3", "PYTHONPATH", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    given = {names[0]: "http://localhost:9", names[1]: str(tmp_path), names[2]: "token", names[3]: "true"}
    code = f"import os\nfor name in {names}: print(os.environ.get(name))"
    s3, path, *gone = said(tmp_path, code, **given)
    assert s3 == "http://localhost:9"
    assert path.split(os.pathsep)[1:] == [str(tmp_path)]
    assert gone == ["None", "None"]
    assert os.pathsep not in said(tmp_path, code, PYTHONPATH="")[1], "an empty entry would be the working directory"


@pytest.mark.thorough
def test_a_python_that_imports_no_botocore_imports_nothing_more_than_without(tmp_path: Path) -> None:
    code = "import sys; print(sorted({*sys.modules} - {'sitecustomize'}), sys.path)"
    (under,) = said(tmp_path, code)
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert under == alone


@pytest.mark.thorough
def test_a_python_without_botocore_works(tmp_path: Path) -> None:
    code = """
        import sys
        sys.path[:] = [folder for folder in sys.path if "-packages" not in folder]
        try:
            import botocore.session
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert said(tmp_path, code) == ["botocore"]


@pytest.mark.thorough
def test_the_sitecustomize_of_the_user_is_run_as_ever(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys\nsys.greeting = 'hello'\nsys.path.append('/added')\n")
    code = "import sitecustomize, sys; print(sys.greeting, sitecustomize.__file__, sys.path[-1])\n"
    told = said(tmp_path, code + STS, PYTHONPATH=str(own))
    assert told == [f"hello {own / 'sitecustomize.py'} /added", ACCOUNT]


@pytest.mark.thorough
def test_a_sitecustomize_of_the_user_that_fails_says_so_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import nothing_of_that_name\n")
    done = run(tmp_path, sys.executable, "-c", STS, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout.strip()) == (0, ACCOUNT)
    assert "No module named 'nothing_of_that_name'" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("sh", "-c", "kill -TERM $$"), 143, ""),
        (("no-such-program",), 127, "servefit: no-such-program: not found\n"),
        (("/no/such/program",), 127, "servefit: /no/such/program: not found\n"),
        (("/etc/passwd",), 126, "servefit: /etc/passwd: cannot be executed\n"),
    ],
)
def test_its_exit_status_is_passed_on(tmp_path: Path, command: tuple[str, ...], status: int, words: str) -> None:
    done = run(tmp_path, *command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", words)


@pytest.mark.thorough
def test_its_exit_status_is_known_also_where_sigchld_is_ignored(tmp_path: Path) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    code = "import subprocess, sys; sys.exit(subprocess.run(['sh', '-c', 'exit 7']).returncode)"
    done = subprocess.run(
        [sys.executable, "-c", ignoring, *command_of(sys.executable, "-c", code)],
        env=variables_of(tmp_path),
        timeout=60,
        check=False,
    )
    assert done.returncode == 7
    assert is_over(tmp_path)


PROXY = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
"""Nothing listens there."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ["127.0.0.1,localhost"] * 2),
        ({"NO_PROXY": "corp"}, ["corp,127.0.0.1,localhost"] * 2),
        ({"no_proxy": "corp"}, ["corp,127.0.0.1,localhost"] * 2),
        ({"NO_PROXY": "a", "no_proxy": "b,c"}, ["a,127.0.0.1,localhost", "b,c,127.0.0.1,localhost"]),
        ({"NO_PROXY": "a", "no_proxy": ""}, ["a,127.0.0.1,localhost", "127.0.0.1,localhost"]),
        ({"NO_PROXY": "*"}, ["*", "*"]),
    ],
)
def test_what_is_for_the_server_goes_to_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: list[str]
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    code = "import os\nfor name in ('NO_PROXY', 'no_proxy', 'HTTP_PROXY'): print(os.environ[name])\n" + STS
    assert said(tmp_path, code, **PROXY, **before) == [*after, PROXY["HTTP_PROXY"], ACCOUNT]


@pytest.mark.thorough
def test_its_arguments_are_its_own_also_those_that_look_like_options(tmp_path: Path) -> None:
    code = "import sys; print(sys.argv[1:])"
    words = ["--help", "--", "-c", "--port=1", ""]
    done = run(tmp_path, sys.executable, "-c", code, *words)
    assert done.stdout.strip() == repr(words)
    without_dashes = command_of(sys.executable, "-c", code, *words)
    without_dashes.remove("--")
    done = subprocess.run(without_dashes, env=variables_of(tmp_path), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(words)


COUNTS = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: got.append(number))
print("ready", flush=True)
until = time.monotonic() + 30
while not got and time.monotonic() < until:
    time.sleep(0.01)
time.sleep(0.5)
print([int(number) for number in got], flush=True)
sys.exit(40 + len(got))
"""
"""A program that takes note of signals, and waits for a second one."""


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
def test_a_signal_reaches_the_program_once(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        command_of(sys.executable, "-c", COUNTS), env=variables_of(tmp_path), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"[{int(number)}]\n"
        assert process.wait(30) == 41
    assert is_over(tmp_path)


@pytest.mark.thorough
def test_ctrl_c_in_a_terminal_reaches_the_program_once_and_not_the_server(tmp_path: Path) -> None:
    code = COUNTS.replace("sys.exit(40 + len(got))", STS)
    terminal, of_process = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
         "os.execv(sys.argv[1], sys.argv[1:])", *command_of(sys.executable, "-c", code)],
        env=variables_of(tmp_path),
        stdin=of_process,
        stdout=of_process,
        stderr=of_process,
        start_new_session=True,
    )  # fmt: skip
    os.close(of_process)
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while ACCOUNT.encode() not in shown and process.poll() is None:
        shown += os.read(terminal, 1024)
    assert process.wait(30) == 0
    os.close(terminal)
    assert b"[2]" in shown


@pytest.mark.thorough
def test_a_server_that_runs_is_used(tmp_path: Path) -> None:
    with started(tmp_path, "--account", "111122223333") as server:
        address, account = said(tmp_path, "import os; print(os.environ['AWS_ENDPOINT_URL'])\n" + STS)
        assert (address, account) == (server.address, "111122223333")
        assert server.process.poll() is None
        done = run(tmp_path, "true", options=("--time-scale", "0.5"))
        assert done.returncode == 2
        assert f"one runs already at {server.address}" in done.stderr


@pytest.mark.thorough
def test_options_before_run_are_those_of_the_server_that_is_started(tmp_path: Path) -> None:
    root = tmp_path / "-objects"
    root.mkdir()
    code = "import boto3\nboto3.client('s3').create_bucket(Bucket='made-here')\n" + STS
    options = ("--account", "111122223333", "--s3-root", str(root), "--map", "A=local-1c", "--map", "B=local-1c")
    assert said(tmp_path, code, options=options) == ["111122223333"]
    assert (root / "made-here").is_dir()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(("--account", "12"), "account: '12' is not 12 digits", marks=pytest.mark.thorough),
        pytest.param(("--map", "x"), "map: 'x' does not look like", marks=pytest.mark.thorough),
        (("--port", "70000"), "port: 70000 is not between 0 and 65535"),
        (("--secret-env", "NOT_SET"), "secret_env: 'NOT_SET' has no value"),
    ],
)
def test_without_a_server_the_program_is_not_started(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = run(tmp_path, "touch", str(tmp_path / "made"), options=options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.thorough
def test_with_a_secret_the_program_signs_with_it(tmp_path: Path) -> None:
    options = ("--secret-env", "SECRET")
    assert said(tmp_path, STS, options=options, SECRET="deep") == [ACCOUNT]
    with started(tmp_path, *options, environment={"SECRET": "deep"}):
        assert said(tmp_path, STS, options=options, SECRET="deep") == [ACCOUNT]
        done = run(tmp_path, "true")
        assert done.returncode == 2
        assert "takes signed requests alone" in done.stderr


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        ("", "is in use by a server that is starting"),
        ("process 1, which answers boto3 itself", "is in use by process 1"),
        ("http://127.0.0.1:1", "does not answer"),
    ],
)
def test_a_state_folder_that_has_no_server_to_use_is_named(tmp_path: Path, holder: str, words: str) -> None:
    (tmp_path / "api").mkdir()
    with claimed(tmp_path / "api") as tell:
        tell(holder)
        done = run(tmp_path, "touch", str(tmp_path / "made"))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert not (tmp_path / "made").exists()


WAITS = "import sys; print('ready', flush=True); sys.stdin.read()\n"


def waiting(home: Path, code: str = "") -> subprocess.Popen[str]:
    """A program that has begun, and waits for the end of its input."""
    process = subprocess.Popen(
        command_of(sys.executable, "-c", WAITS + code),
        env=variables_of(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.thorough
def test_programs_share_a_server_which_ends_with_the_last(tmp_path: Path) -> None:
    with waiting(tmp_path) as first, waiting(tmp_path, STS) as second:
        address = holder_of(tmp_path / "api")
        assert said(tmp_path, "import os; print(os.environ['AWS_ENDPOINT_URL'])") == [address]
        first.communicate(timeout=30)
        assert holder_of(tmp_path / "api") == address, "the one who started it has ended, and another still uses it"
        assert second.communicate(timeout=30)[0].strip() == ACCOUNT
    assert is_over(tmp_path, within_s=30)
    assert said(tmp_path, STS) == [ACCOUNT]


@pytest.mark.thorough
def test_a_server_goes_on_for_a_program_whose_run_is_killed_and_ends_with_that(tmp_path: Path) -> None:
    with waiting(tmp_path, "import time; time.sleep(2)\n" + STS) as process:
        process.kill()
        process.wait(30)
        assert said(tmp_path, STS) == [ACCOUNT]
        assert process.communicate(timeout=30)[0].strip() == ACCOUNT
    assert is_over(tmp_path, within_s=30)


@pytest.mark.thorough
def test_what_a_program_leaves_running_keeps_no_server(tmp_path: Path) -> None:
    # The shell's child inherits all that the shell has open.
    done = run(tmp_path, "sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!")
    try:
        assert is_over(tmp_path)
        assert said(tmp_path, STS) == [ACCOUNT]
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.thorough
def test_programs_that_begin_at_once_have_one_server(tmp_path: Path) -> None:
    code = "import os; print(os.environ['AWS_ENDPOINT_URL'])"
    begun = [
        subprocess.Popen(
            command_of(sys.executable, "-c", code + "\nimport time; time.sleep(4)"),
            env=variables_of(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    addresses = {process.communicate(timeout=60)[0] for process in begun}
    assert [process.returncode for process in begun] == [0, 0, 0]
    assert len(addresses) == 1
    wait_for(lambda: is_over(tmp_path))
