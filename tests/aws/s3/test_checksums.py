"""What a client says of a body is held against what came, and nothing is kept that is not so."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.aws.s3.conftest import code_in, sent
from tests.aws.s3.test_over_boto3 import code_of
from tests.example_counts import examples

from servefit.aws.s3.crc import crc32c, crc64nvme

if TYPE_CHECKING:
    from tests.aws.conftest import Server

    from servefit.aws.s3.crc import Crc

CONTENT = b"123456789"


def bit_by_bit(content: bytes, polynomial: int, bits: int) -> bytes:
    state = mask = (1 << bits) - 1
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (polynomial if state & 1 else 0)
    return (state ^ mask).to_bytes(bits // 8, "big")


def crc(found: Crc, content: bytes) -> bytes:
    return found.digest(found.extended(found.start, content))


@pytest.mark.integration
@settings(max_examples=examples(25, drawn=60), deadline=None)
@given(content=st.binary(max_size=2000), cut=st.integers(0, 2000))
def test_crcs_are_those_of_their_definition_however_the_content_comes(content: bytes, cut: int) -> None:
    for found, polynomial, bits in ((crc32c(), 0x82F63B78, 32), (crc64nvme(), 0x9A6C9329AC4BC9B5, 64)):
        in_two = found.digest(found.extended(found.extended(found.start, content[:cut]), content[cut:]))
        assert crc(found, content) == in_two == bit_by_bit(content, polynomial, bits)


def test_crcs_have_the_check_values_that_are_published() -> None:
    assert (crc(crc32c(), CONTENT).hex(), crc(crc64nvme(), CONTENT).hex()) == ("e3069283", "ae8b14860a799888")


def test_a_crc_of_several_blocks_is_that_of_its_pieces() -> None:
    content, found = os.urandom(3 * 2**20 + 12345), crc64nvme()
    state = found.start
    for begin in range(0, len(content), 99_991):
        state = found.extended(state, content[begin : begin + 99_991])
    assert found.digest(state) == crc(found, content)


CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda content: zlib.crc32(content).to_bytes(4, "big"),
    "CRC32C": lambda content: crc(crc32c(), content),
    "CRC64NVME": lambda content: crc(crc64nvme(), content),
    "MD5": lambda content: hashlib.md5(content, usedforsecurity=False).digest(),
    "SHA1": lambda content: hashlib.sha1(content, usedforsecurity=False).digest(),
    "SHA256": lambda content: hashlib.sha256(content).digest(),
    "SHA512": lambda content: hashlib.sha512(content).digest(),
}


def text_of(checksum: bytes) -> str:
    return base64.b64encode(checksum).decode()


@pytest.mark.integration
@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_checksum_in_a_header_is_checked_and_answered(server: Server, s3: Any, name: str) -> None:
    url, header = f"{server.address}/objects/{name}", f"x-amz-checksum-{name.lower()}"
    right, wrong = (text_of(CHECKSUMS[name](content)) for content in (CONTENT, b"other"))
    status, headers, _ = sent(url, "PUT", CONTENT, {header: right})
    assert (status, headers[header]) == (200, right)
    for text, code in ((wrong, "BadDigest"), ("abc", "InvalidRequest"), (right[4:], "InvalidRequest")):
        status, _, body = sent(url, "PUT", b"123", {header: text})
        assert (status, code_in(body)) == (400, code)
    assert s3.get_object(Bucket="objects", Key=name)["Body"].read() == CONTENT


@pytest.mark.integration
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-MD5": text_of(CHECKSUMS["MD5"](CONTENT))}, 200, ""),
        ({"Content-MD5": text_of(CHECKSUMS["MD5"](b"other"))}, 400, "BadDigest"),
        ({"Content-MD5": "abc"}, 400, "InvalidDigest"),
        ({"x-amz-content-sha256": hashlib.sha256(CONTENT).hexdigest()}, 200, ""),
        ({"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}, 400, "XAmzContentSHA256Mismatch"),
        ({"x-amz-content-sha256": "other"}, 400, "InvalidArgument"),
        ({"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, 200, ""),
        ({"x-amz-checksum-xxhash3": "AAAAAAAAAAA="}, 400, "NotImplemented"),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, 400, "InvalidRequest"),
    ],
)
def test_digests_of_bodies_are_checked(
    server: Server, s3: Any, headers: dict[str, str], status: int, code: str
) -> None:
    s3.delete_object(Bucket="objects", Key="digest")
    found, _, body = sent(f"{server.address}/objects/digest", "PUT", CONTENT, headers)
    assert (found, code_in(body)) == (status, code)
    is_there = sent(f"{server.address}/objects/digest", "HEAD")[0] == 200
    assert is_there == (status == 200)
    if code == "NotImplemented":
        assert "x-amz-checksum-xxhash3" in body.decode()


@pytest.mark.integration
def test_the_list_of_what_is_to_be_deleted_is_checked_too(server: Server, s3: Any) -> None:
    s3.put_object(Bucket="objects", Key="kept", Body=b"x")
    body = b"<Delete><Object><Key>kept</Key></Object></Delete>"
    for headers in ({"Content-MD5": text_of(bytes(16))}, {"x-amz-checksum-crc32": text_of(bytes(4))}):
        status, _, answer = sent(f"{server.address}/objects?delete", "POST", body, headers)
        assert (status, code_in(answer)) == (400, "BadDigest")
    s3.head_object(Bucket="objects", Key="kept")


@pytest.mark.integration
def test_a_body_of_chunks_is_its_content_and_its_trailer_is_checked(server: Server, s3: Any) -> None:
    content = os.urandom(300_000)
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }

    def put(body: bytes, **changed: str) -> tuple[int, str]:
        told = {**headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
        status, _, answer = sent(f"{server.address}/objects/chunks", "PUT", body, told)
        return status, code_in(answer)

    whole = AwsChunkedWrapper(
        io.BytesIO(content), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=70_000
    ).read()
    assert put(whole) == (200, "")
    found = s3.get_object(Bucket="objects", Key="chunks")
    assert (found["Body"].read(), found.get("ContentEncoding")) == (content, None)
    assert put(whole, content_encoding="gzip, aws-chunked") == (200, "")
    assert s3.head_object(Bucket="objects", Key="chunks")["ContentEncoding"] == "gzip"
    right = text_of(zlib.crc32(content).to_bytes(4, "big")).encode()
    assert put(whole.replace(right, b"AAAAAA==")) == (400, "BadDigest")
    assert put(whole.replace(b"x-amz-checksum-crc32:" + right + b"\r\n", b"")) == (400, "MalformedTrailerError")
    assert put(whole.replace(b"x-amz-checksum-crc32", b"x-amz-checksum-sha1")) == (400, "MalformedTrailerError")
    assert put(whole, x_amz_decoded_content_length="3") == (400, "IncompleteBody")
    assert put(whole[:100_000]) == (400, "IncompleteBody")
    assert put(b"no chunks") == (400, "IncompleteBody")
    assert put(b"no chunks\r\n") == (400, "InvalidRequest")
    assert put(b"x" * 10_000) == (400, "InvalidRequest")
    assert put(b"1\r\na\r\n" * 1000 + b"0\r\n\r\n") == (400, "InvalidChunkSizeError")


@pytest.mark.integration
def test_signatures_of_chunks_are_left_out_where_nobody_checks_signatures(server: Server, s3: Any) -> None:
    signature = b";chunk-signature=" + b"0" * 64
    body = b"3" + signature + b"\r\nabc\r\n0" + signature + b"\r\n\r\n"
    headers = {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": "3",
    }
    assert sent(f"{server.address}/objects/signed", "PUT", body, headers)[0] == 200
    assert s3.get_object(Bucket="objects", Key="signed")["Body"].read() == b"abc"


@pytest.mark.integration
def test_checksums_of_parts_and_of_the_whole_are_checked_when_they_are_joined(s3: Any) -> None:
    key, contents = {"Bucket": "objects", "Key": "joined"}, [os.urandom(5 * 2**20), b"end"]
    of_parts = [CHECKSUMS["SHA256"](content) for content in contents]
    composite = f"{text_of(CHECKSUMS['SHA256'](b''.join(of_parts)))}-2"

    def complete(*, part: str | None = None, **about: Any) -> str:
        upload = s3.create_multipart_upload(**key, ChecksumAlgorithm="SHA256")["UploadId"]
        parts = []
        for number, content in enumerate(contents, 1):
            put = s3.upload_part(**key, UploadId=upload, PartNumber=number, Body=content, ChecksumAlgorithm="SHA256")
            parts.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumSHA256": part or put["ChecksumSHA256"]})
        done = {**key, "UploadId": upload, "MultipartUpload": {"Parts": parts}}
        return str(s3.complete_multipart_upload(**done, **about)["ETag"])

    whole = b"".join(contents)
    complete(ChecksumSHA256=composite, ChecksumType="COMPOSITE")
    complete(ChecksumCRC64NVME=text_of(CHECKSUMS["CRC64NVME"](whole)), MpuObjectSize=len(whole))
    assert s3.get_object(**key)["Body"].read() == whole
    assert code_of(lambda: complete(part=text_of(bytes(32)))) == "InvalidPart"
    assert code_of(lambda: complete(ChecksumCRC32="AAAAAA==")) == "BadDigest"
    assert code_of(lambda: complete(ChecksumSHA256=f"{text_of(bytes(32))}-2")) == "BadDigest"
    assert code_of(lambda: complete(MpuObjectSize=3)) == "InvalidRequest"
