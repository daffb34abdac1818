"""The JSON Schema of config files says of a file what reading it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.search.request.test_config_file import EVERYTHING, refused

from servefit.search.request.config_file import parse_config
from servefit.search.request.config_schema import config_schema
from servefit.search.request.job_request import GOALS
from servefit.search.request.plain_yaml import load_yaml

PUBLISHED = Path(__file__).parents[3] / "docs" / "job.schema.json"


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text()) == config_schema()


def test_every_key_is_described_for_editors() -> None:
    schema = config_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["goal"]["enum"] == sorted(GOALS)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert all(one["description"] for one in part["properties"].values())


KINDS = {"string": str, "array": list, "object": dict, "boolean": bool, "integer": int, "number": float}


def admits(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """Whether ``value`` is valid, by those keywords of JSON Schema that ours consists of."""
    kind = schema.get("type")
    if "$ref" in schema and not admits(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root):
        return False
    if "anyOf" in schema and not any(admits(one, value, root) for one in schema["anyOf"]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if kind and not (type(value) is KINDS[kind] or (kind == "number" and type(value) is int)):
        return False
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0) and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(
            admits(schema.get("items", {}), one, root) for one in value
        )
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        others = {"enum": []} if others is False else others
        return (
            len(value) >= schema.get("minProperties", 0)
            and all(name in value for name in schema.get("required", ()))
            and all(admits(schema.get("propertyNames", {}), name, root) for name in value)
            and all(admits(known.get(name, others), one, root) for name, one in value.items())
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


@pytest.mark.parametrize(
    "text",
    [
        EVERYTHING,
        "{}",
        "sla: [p95=10ms, p99<=20ms]",
        "batch_delay: 0,1ms",
        "env: [{variable: A, values: x, profile: local-1c}]",
        "stairs: {steps: 2, users: 3, duration: 4s}",
        "$schema: job.schema.json",
    ],
)
def test_the_schema_admits_what_is_read(text: str) -> None:
    schema = config_schema()
    assert admits(schema, load_yaml(text), schema)
    assert parse_config(text.encode(), "job.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "modle: m",
        "rate: 500",
        "rate: 0/s",
        "budget: soon",
        "sla: {p0: 10ms}",
        "sla: {p95: 10}",
        "sla: p95",
        "batch_delay: 5",
        "batch_delay: 0ms",
        "batch: []",
        "env: {A: 0.5}",
        "env: {A: true}",
        "phase: [{users: 1}]",
        "phase: [{users: -1, duration: 1s}]",
        "goal: speed",
        "http: yes",
        "seed: 4294967296",
        "name: a b",
        "model:",
    ],
)
def test_the_schema_refuses_what_is_refused(text: str) -> None:
    schema = config_schema()
    assert not admits(schema, load_yaml(text), schema)
    refused(text.encode())
