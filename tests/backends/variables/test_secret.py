"""Secrets: which variables hold them, and that only started processes get their values."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING

import pytest

from servefit.backends.variables.secret import (
    Secret,
    hidden,
    hidden_environment,
    is_hidden,
    is_secret,
    revealed,
    scrubbed,
)
from servefit.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "variable",
    [
        *(
            "API_TOKEN",
            "HFTOKEN",
            "PGPASSWORD",
            "MYSQL_PWD",
            "DB_PASSWD",
            "aws_secret_access_key",
            "SSHPASS_PHRASE_KEY",
        ),
        *(
            "OPENAI_APIKEY",
            "GOOGLE_CREDENTIALS",
            "PROXY_AUTH",
            "OAUTH2_STATE",
            "SENTRY_DSN",
            "SESSION_COOKIE",
            "SECRETS",
        ),
    ],
)
def test_a_name_says_that_its_value_is_a_secret(variable: str) -> None:
    assert is_secret(variable)


@pytest.mark.parametrize(
    "variable",
    [
        *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "KMP_AFFINITY", "TOKENIZERS_PARALLELISM", "MAX_NUM_BATCHED_TOKENS"),
        *("SSL_KEY_FILE", "GOOGLE_CREDENTIALS_PATH", "KEYBOARD", "MONKEYS", "AUTHOR", "COMPASS", "PASSES", ""),
    ],
)
def test_variables_with_other_names_hold_no_secrets(variable: str) -> None:
    assert not is_secret(variable)


def test_a_url_with_a_password_is_a_secret_whatever_the_name() -> None:
    assert is_secret("DATABASE_URL", "postgresql://fraud:hunter2@db/features")
    assert is_secret("REDIS", "redis://:hunter2@cache:6379")
    assert not is_secret("DATABASE_URL", "postgresql://fraud@db:5432/features")
    assert not is_secret("PROXY", "http://proxy:3128/a:b@c")


@pytest.mark.parametrize(
    "written",
    [
        str,
        repr,
        "{}".format,
        "{!r}".format,
        "%s".__mod__,
        json.dumps,
        lambda secret: pickle.dumps(secret).decode("latin-1"),
    ],
)
def test_however_it_is_written_it_is_not_shown(written: Callable[[str], str]) -> None:
    [secret] = hidden(["hunter2"])
    assert "hunter2" not in written(secret)
    assert "***" in written(secret)


def test_a_copy_does_not_know_it() -> None:
    [secret] = hidden(["hunter2"])
    for derived in (
        copy.copy(secret),
        copy.deepcopy(secret),
        pickle.loads(pickle.dumps(secret)),
        secret + "",
        secret[:],
    ):
        assert not isinstance(derived, Secret)
        assert derived == "***"


def test_equal_values_look_the_same_and_others_do_not() -> None:
    assert hidden(["a"]) == ("***",)
    assert hidden(["a", "b", "a"]) == ("***1", "***2", "***1")
    assert hidden(hidden(["a", "b"])) == ("***1", "***2")
    assert [revealed({"A": text})["A"] for text in hidden(hidden(["a", "b"]))] == ["a", "b"]


def test_a_process_gets_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = hidden_environment({"API_TOKEN": "one", "MINE": "two", "THREADS": "3"}, {"MINE"})
    assert environment == {"API_TOKEN": "***", "MINE": "***", "THREADS": "3"}
    assert revealed(environment) == {"API_TOKEN": "one", "MINE": "two", "THREADS": "3"}


def test_what_stands_for_a_secret_that_is_not_known_is_no_value() -> None:
    assert is_hidden("***12")
    assert hidden(["***1", "***2"]) == ("***1", "***2")
    with pytest.raises(SpecError, match="env: 'API_TOKEN' is a secret, and its value is not known here"):
        revealed({"API_TOKEN": "***1"})


def test_what_a_process_says_is_passed_on_without_them() -> None:
    environment = dict(zip(("A_KEY", "B_KEY"), hidden(["hunter", "hunter2"]), strict=True))
    assert scrubbed("hunter2 and hunter", environment) == "***2 and ***1"
