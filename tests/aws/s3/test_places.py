"""Keys and the files that they are: none is outside of the root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.aws.s3.places import Places
from servefit.aws.wire.errors import ApiError


@pytest.fixture
def places(tmp_path: Path) -> Places:
    root = tmp_path / "root"
    (root / "bucket" / "folder").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (root / "bucket" / "out").symlink_to(tmp_path)
    (root / "bucket" / "secret").symlink_to(tmp_path / "secret.txt")
    (root / "linked").symlink_to(tmp_path)
    return Places(root)


def code_of(places: Places, key: str, bucket: str = "bucket") -> str:
    with pytest.raises(ApiError) as caught:
        places.file(bucket, key)
    assert 400 <= caught.value.status < 500
    return caught.value.code


@pytest.mark.parametrize(
    "key",
    [
        "",
        "..",
        "../secret.txt",
        "a/../../secret.txt",
        "/etc/passwd",
        "a//b",
        "/",
        "a//",
        "../",
        "out/",
        ".servefit-folder",
        "a/.servefit-folder",
        "./a",
        "a\0b",
        "out/secret.txt",
        "secret",
    ],
)
def test_keys_that_lead_out_or_are_no_paths_are_refused(places: Places, key: str) -> None:
    assert code_of(places, key) == "InvalidArgument"


def test_a_key_has_the_bounds_of_s3_and_of_file_systems(places: Places) -> None:
    assert code_of(places, "a" * 256) == "KeyTooLongError"
    assert code_of(places, "/".join(["a" * 200] * 6)) == "KeyTooLongError"
    assert code_of(places, "aa/" + "a/" * 511) == "KeyTooLongError"
    assert places.file("bucket", "a/" * 512).name == ".servefit-folder"
    assert places.file("bucket", "ä" * 127).name == "ä" * 127


@pytest.mark.parametrize("bucket", ["", "..", "a", "A-b", "a/b", ".servefit", "a..b", "-ab", "linked"])
def test_a_bucket_is_a_folder_with_a_name_of_s3(places: Places, bucket: str) -> None:
    assert code_of(places, "key", bucket) in ("InvalidBucketName", "InvalidArgument")


def test_a_bucket_that_is_not_there_is_said(places: Places) -> None:
    assert code_of(places, "key", "other") == "NoSuchBucket"


@settings(max_examples=examples(60, drawn=200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["a", "..", ".", "", "out", "secret", "%2e%2e", "\\", "~"]), max_size=6).map("/".join))
def test_no_key_is_a_file_outside_of_the_root(places: Places, key: str) -> None:
    try:
        file = places.file("bucket", key)
    except ApiError:
        return
    assert file.resolve().is_relative_to(places.root / "bucket")
