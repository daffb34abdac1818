"""Archives and files made to do harm are refused in one line, quickly, and in little memory."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import time
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.backends.model import Model, finding
from servefit.backends.model.archive import unpack
from servefit.backends.model.finding import model_in_file, unpack_bounded
from servefit.backends.model.tar import MAX_ALL_EXTRA_BYTES, MAX_EXTRA_BYTES
from servefit.errors import CorruptModel, ServefitError, TimedOut, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
MAX_S = 5.0
"""Of a CPU, with a wide margin: memory is traced meanwhile."""
MAX_MEMORY = 4 * 2**20
MUTATIONS = settings(
    max_examples=examples(40, drawn=200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def soon_and_in_little_memory() -> Iterator[None]:
    begin = time.process_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_MEMORY
    assert time.process_time() - begin < MAX_S


def header(name: str = "model", size: int = 0, kind: bytes = b"0") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def resummed(block: bytes) -> bytes:
    """The header with its sum put right."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def pax(*records: tuple[str, str]) -> bytes:
    content = b""
    for name, value in records:
        rest = f" {name}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        content += str(length).encode() + rest
    return header("pax", len(content), b"x") + padded(content)


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Unpack a tar archive of these blocks, and give the one line with which it is refused."""

    def refused(*blocks: bytes, compresslevel: int = 1) -> str:
        path = tmp_path / "model.tar.gz"
        path.write_bytes(gzip.compress(b"".join(blocks) + bytes(2 * BLOCK), compresslevel=compresslevel))
        with soon_and_in_little_memory(), pytest.raises(CorruptModel) as caught:
            unpack(path, tmp_path / "out")
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 300 + len(str(path))
        return line

    return refused


@pytest.mark.integration
@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"], ids=["long name", "long link", "pax", "global pax"])
def test_a_header_of_many_megabytes_is_not_taken_into_memory(kind: bytes, refusal: Callable[..., str]) -> None:
    size = 50 * 2**20
    assert "far more than names take" in refusal(header("././@LongLink", size, kind), bytes(size), header())


def test_many_headers_that_are_each_as_long_as_may_be_are_not_read_to_their_end(refusal: Callable[..., str]) -> None:
    extra = header("pax", MAX_EXTRA_BYTES, b"g") + bytes(MAX_EXTRA_BYTES)
    assert "far more than names take" in refusal(*[extra] * (MAX_ALL_EXTRA_BYTES // MAX_EXTRA_BYTES + 1))


@pytest.mark.thorough
@pytest.mark.integration
def test_very_many_headers_are_not_read_to_their_end(refusal: Callable[..., str]) -> None:
    assert "more than 30000 headers" in refusal(*[header("x", 0, b"g")] * 30_001)
    assert "more than 10000 members" in refusal(*[header("x/", 0, b"5")] * 10_001)


def test_what_is_skipped_counts_as_unpacked(refusal: Callable[..., str]) -> None:
    assert "unpacks to far more" in refusal(header("a", 2**40), bytes(BLOCK))
    assert "a link or a device" in refusal(header("a", 2**40, b"2"), bytes(BLOCK))
    assert "unpacks to far more" in refusal(pax(("size", str(2**60))), header("a"), bytes(BLOCK))


@pytest.mark.parametrize(
    "records",
    [
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")],
        [("GNU.sparse.map", "1,x")],
        [("GNU.sparse.size", "10"), ("GNU.sparse.offset", "x")],
    ],
    ids=["1.0", "0.1", "0.0"],
)
def test_sparse_files_are_refused(records: list[tuple[str, str]], refusal: Callable[..., str]) -> None:
    assert "holds a sparse file" in refusal(pax(*records), header("model", BLOCK), padded(b"zz\n"))
    assert "a link or a device" in refusal(header("model", BLOCK, b"S"), bytes(BLOCK))


@pytest.mark.parametrize("name", ["/".join(["d" * 100] * 60), "a\0b", "ü" * 120, "a/" * 600, "../a", "/a"])
def test_a_name_that_no_file_can_have_is_refused(name: str, refusal: Callable[..., str]) -> None:
    assert "not safe to unpack" in refusal(pax(("path", name)), header("model", 4), padded(b"abcd"))


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([header()[:100]], "holds no archive"),
        ([b"x" * 1000], "holds no archive"),
        ([header("a"), b"x" * BLOCK], "no complete .tar.gz archive: it is damaged"),
        ([header("a", 4), padded(b"abcd"), header("b", 4000)], "ends in the middle"),
        ([header("pax", 8, b"x"), padded(b"9 path=a\n")], "a pax header is broken"),
        ([header("pax", 8, b"x"), padded(b"x path=a")], "a pax header is broken"),
        ([header("pax", 8, b"x"), padded(b"2 path=a")], "a pax header is broken"),
        ([pax(("size", "-1")), header("a")], "a size is no number"),
        ([resummed(header("a")[:124] + b"\xff" * 12 + header("a")[136:])], "a size is no number"),
        ([resummed(header("a")[:124] + b"9" * 12 + header("a")[136:])], "a size is no number"),
        ([header("pax", 300, b"x")], "it is cut off"),
    ],
)
def test_a_broken_archive_is_refused_with_what_is_wrong(
    blocks: list[bytes], reason: str, refusal: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "whole.tar.gz"
    path.write_bytes(gzip.compress(b"".join(blocks)))
    with pytest.raises(CorruptModel, match=reason):
        unpack(path, tmp_path / "whole")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_that_tar_programs_write_of_files_is_read(form: int, tmp_path: Path) -> None:
    long = "folder/" + "n" * 120 + "/file"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=form) as archive:
        for name, content in (("model", b"abc"), (long, bytes(5000)), ("empty", b"")):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    found = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == {"model": b"abc", long: bytes(5000), "empty": b""}


def gzipped(content: bytes, size: int) -> bytes:
    """A gzip file of so many bytes; the name in it makes up for what is missing."""
    compressed = gzip.compress(content)[10:]
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (size - len(compressed) - 11) + b"\0" + compressed


@pytest.mark.parametrize("first_bytes", [1000, 2**16 - 1, 2**16])
def test_gzip_files_one_after_another_and_padding_are_one_archive(first_bytes: int, tmp_path: Path) -> None:
    content = header("model", 4) + padded(b"abcd") + bytes(2 * BLOCK)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzipped(content[:700], first_bytes) + gzip.compress(content[700:]) + bytes(100))
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "model").read_bytes() == b"abcd"


@pytest.mark.thorough
def test_very_many_gzip_files_are_not_read_to_their_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(b"") * 100_001)
    with soon_and_in_little_memory(), pytest.raises(CorruptModel, match="more than 100000 gzip files"):
        unpack(path, tmp_path / "out")


def assert_refused_or(done: Callable[[], Any]) -> None:
    """Nothing but an error of one line comes out of it, if not what it does, and soon."""
    begin = time.process_time()
    line = ""
    try:
        done()
    except ServefitError as error:
        line = str(error)
    assert "\n" not in line
    assert "Traceback" not in line
    assert time.process_time() - begin < MAX_S


@st.composite
def mutated(draw: st.DrawFn, contents: tuple[bytes, ...], first: int = 4096) -> bytes:
    """One of the contents with some bytes of its beginning replaced, taken out or put in."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, min(len(content), first)))
        content[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=12))
    return bytes(content)


def archive_of(form: int) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        for name in ("model", "n" * 130 + "/b"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 600, 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(member, io.BytesIO(b"tree\nversion=v4\n".ljust(600)))
    return content.getvalue()[: 12 * BLOCK]


ARCHIVES = tuple(map(archive_of, (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))


@MUTATIONS
@given(content=mutated(ARCHIVES, 12 * BLOCK), sums_are_right=st.booleans())
def test_whatever_an_archive_holds_it_is_unpacked_or_refused(content: bytes, sums_are_right: bool) -> None:
    if sums_are_right:
        blocks = [content[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(content), BLOCK)]
        content = b"".join(resummed(block) if b"ustar" in block else block for block in blocks)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.tar.gz")
        path.write_bytes(gzip.compress(content, compresslevel=1))
        assert_refused_or(lambda: unpack(path, Path(folder, "out")))


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


HEADS = (
    zipped("net/data.pkl", "net/code/a.py"),
    b'{"learner":{"attributes":{}},"version":[3,2,0]}',
    b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x0aattributes{}",
    b"tree\nversion=v4\nnum_class=1\nmax_feature_idx=4\n",
    b"binf" + bytes(136) + struct.pack("<Q", 15) + b"binary:logistic" + struct.pack("<Q", 6) + b"gbtree",
    b"\x08\x0a\x12\x04test\x3a\x10\x0a\x01g\x12\x05graphBBBB\x42\x04\x0a\x00\x10\x0d",
    b"\x80\x05\x95\x1d\0\0\0\0\0\0\0\x8c\x08builtins\x94\x8c\x04eval\x94\x93\x94.",
    b"PK\x03\x04\x14\0\0\0\0\0" + bytes(16) + b"\x08\0\0\0a/data.pkPK\x05\x06" + bytes(18),
    b"@\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
    gzip.compress(ARCHIVES[1], compresslevel=1),
    b"\xfd7zXZ\0\0\x04" + bytes(40),
    b"\x5d\0\0\xff\xff" + bytes(40),
    b"BZh91AY&SY" + bytes(40),
    b"\x78\x9c" + bytes(40),
)


@MUTATIONS
@given(content=mutated(HEADS) | st.binary(max_size=200))
def test_whatever_a_file_begins_with_its_format_is_told_or_it_is_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(content)
        assert_refused_or(lambda: model_in_file(path, "0" * 64, Path(folder, "out")).format)


@pytest.mark.integration
@pytest.mark.parametrize("change", range(2))
def test_a_model_with_some_bytes_changed_is_opened_or_refused(
    change: int, xgboost_ubjson: Path, lightgbm_text: Path, tmp_path: Path
) -> None:
    """The library may crash: that is its child process's end."""
    import numpy as np

    generator = np.random.default_rng(change)
    source = (xgboost_ubjson, lightgbm_text)[change]
    content = bytearray(source.read_bytes())
    for at in generator.integers(0, len(content), 3):
        content[at] = generator.integers(256)
    path = tmp_path / source.name
    path.write_bytes(content)
    assert_refused_or(lambda: Model.load(path).signature)


@pytest.mark.thorough
def test_twenty_megabytes_of_one_field_are_no_model_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_bytes(b"\x08\x01" * 10_000_000)
    with soon_and_in_little_memory(), pytest.raises(CorruptModel, match="in no model format"):
        model_in_file(path, "", tmp_path / "out")


@pytest.mark.parametrize(
    "value", [b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\xff" * 20, b"\x80\x80\x80\x80\x80\x80\x80\x80\x40"]
)
def test_a_field_that_is_longer_than_a_file_can_be_is_refused(value: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07\x12" + value + b"x")
    with pytest.raises(CorruptModel, match="in no model format"):
        model_in_file(path, "", tmp_path / "out")


@pytest.mark.integration
def test_an_xgboost_model_that_claims_very_many_features_is_refused(xgboost_json: Path, tmp_path: Path) -> None:
    features = 2**31
    path = tmp_path / "model.json"
    path.write_text(xgboost_json.read_text().replace('"num_feature":"5"', f'"num_feature":"{features}"'))
    with pytest.raises(UnsupportedModel, match=f"its rows have {features:,} features, and servefit takes 8,388,608 at"):
        Model.load(path)


@pytest.mark.thorough
@pytest.mark.integration
def test_a_lightgbm_model_that_claims_very_many_features_is_refused(lightgbm_text: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(lightgbm_text.read_text().replace("max_feature_idx=4", f"max_feature_idx={2**31 - 2}"))
    with pytest.raises(UnsupportedModel, match="its rows have 2,147,483,647 features"):
        Model.load(path)


@pytest.mark.integration
def test_a_network_that_claims_very_many_features_is_refused(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 2**31])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2**31])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [value], [result])
    onnx.save(onnx.helper.make_model(graph, ir_version=8), tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModel, match="its rows have 2,147,483,648 features"):
        Model.load(tmp_path / "model.onnx")


@pytest.mark.integration
def test_telling_a_file_is_bounded_in_memory_and_time(
    tmp_path: Path, xgboost_json: Path, monkeypatch: pytest.MonkeyPatch, write_archive: Any
) -> None:
    archive = write_archive(tmp_path / "m.tar.gz", {"model.json": xgboost_json.read_bytes()})
    with monkeypatch.context() as patched:
        patched.setattr(finding, "MEMORY_BYTES", 2**24)
        with pytest.raises(CorruptModel, match="telling what it is takes more than 16 MiB of memory"):
            Model.load(archive)
    monkeypatch.setattr(finding, "_TIMEOUT_S", 0.001)
    with pytest.raises(TimedOut, match=rf"telling what {archive} is did not finish within 0 s"):
        unpack_bounded(archive, tmp_path / "out")
