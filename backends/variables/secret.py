"""Variables whose values nobody is to read: which they are, and how their values travel.

A value that is hidden is a text, "***", wherever it goes: printed, logged, compared, stored. It carries what it stands
for, which only those ask for who start a process or write a file for its owner alone (:func:`revealed`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from servefit.errors import ServefitError, SpecError

_MASK = re.compile(r"\*\*\*[0-9]*")

_WORDS = frozenset({"AUTH", "COOKIE", "DSN", "JWT", "KEY", "KEYS", "PASS", "PWD"})
"""Words that a name is made of where its value is a secret: API_KEY, but not KEYBOARD or NUM_TOKENS."""

_PARTS = ("APIKEY", "CREDENTIAL", "OAUTH", "PASSPHRASE", "PASSWD", "PASSWORD", "PRIVATEKEY", "SECRET")
"""The same anywhere within a word, as TOKEN is at its end: PGPASSWORD, SECRETS."""

_PLACES = frozenset({"DIR", "FILE", "PATH"})
"""The last word of a name whose value says where a secret is, and is none: SSL_KEY_FILE."""

_URL_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@]*:[^\s/@]+@")


class Secret(str):
    """The ``value`` of a variable, whose text is what it is shown as. Copies and pickles hold the text alone."""

    __slots__ = ("value",)

    value: str

    def __new__(cls, shown: str, value: str) -> Secret:
        secret = super().__new__(cls, shown)
        secret.value = value
        return secret

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return str, (str(self),)


def is_secret(variable: str, value: str = "") -> bool:
    """Return whether the name of a variable, or a URL with a password in its value, says that it is to be hidden."""
    words = [word for word in re.split(r"[^A-Z0-9]+", variable.upper()) if word]
    named = any(word in _WORDS or word.endswith("TOKEN") or any(part in word for part in _PARTS) for word in words)
    return (named and words[-1] not in _PLACES) or _URL_WITH_PASSWORD.search(value) is not None


def is_hidden(value: str) -> bool:
    """Return whether ``value`` stands for a secret, known here or not."""
    return isinstance(value, Secret) or _MASK.fullmatch(value) is not None


def hidden(values: Sequence[str]) -> tuple[str, ...]:
    """Return the masks of the ``values`` of one variable: "***" if all are equal, else "***1" and so on, one for each
    different value. A value that is a mask already, without its secret, stays as it is."""
    plain = [text.value if isinstance(text, Secret) else text for text in values]
    order = {value: nth for nth, value in enumerate(dict.fromkeys(plain), start=1)}
    return tuple(
        text
        if not isinstance(text, Secret) and is_hidden(text)
        else Secret("***" if len(order) == 1 else f"***{order[value]}", value)
        for text, value in zip(values, plain, strict=True)
    )


def hidden_environment(environment: Mapping[str, str], secret: Collection[str] = ()) -> dict[str, str]:
    """Return ``environment`` with everything hidden that looks like a secret, or whose name is in ``secret``."""
    return {
        name: hidden([value])[0] if isinstance(value, str) and (name in secret or is_secret(name, value)) else value
        for name, value in environment.items()
    }


def revealed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` with the plain values of its secrets, for a process. Raises SpecError for a mask without
    its secret."""
    plain = {name: value.value if isinstance(value, Secret) else value for name, value in environment.items()}
    for name, value in environment.items():
        if not isinstance(value, Secret) and is_hidden(value):
            raise unknown(name)
    return plain


def unknown(variable: str) -> SpecError:
    """Return the error for a secret whose value is not known where it is needed."""
    return SpecError(
        "env",
        variable,
        "is a secret, and its value is not known here",
        remedy=f"give the value, or set the variable and name it with --secret-env {variable} (secret_env)",
    )


def scrubbed(text: str, environment: Mapping[str, str]) -> str:
    """Return ``text``, which a process with ``environment`` has said, without the values of its secrets."""
    secrets = [secret for secret in environment.values() if isinstance(secret, Secret) and secret.value]
    for secret in sorted(secrets, key=lambda secret: -len(secret.value)):
        text = text.replace(secret.value, secret)
    return text


def scrub_error(error: ServefitError, environment: Mapping[str, str]) -> None:
    """Remove the values of secrets from ``error``, which a process with ``environment`` has raised: a script, or a
    library, may name them in what it says."""

    def without(value: Any) -> Any:
        return scrubbed(value, environment) if isinstance(value, str) else value

    error.args = tuple(map(without, error.args))
    vars(error).update({name: without(value) for name, value in vars(error).items()})
