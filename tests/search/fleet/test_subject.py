"""What a job is about, as it comes to another host, for which another state folder stands."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import encoder, quantised, text, texts
from tests.scripts import WORDS, scripted
from tests.tiny_model import ROWS, tiny_booster, tiny_model

from servefit.backends.checking.verification import check_batch_dependence
from servefit.backends.model import Format, Model
from servefit.backends.payload.bodies import Bodies
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.types import with_sizes_of
from servefit.backends.quality.limits import PrecisionLimits, QualityLimit
from servefit.errors import CorruptModel, ModelError, PayloadMismatch, SpecError, StorageError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.search.fleet import subject
from servefit.search.fleet.subject import delete_unneeded, obtain, publish
from servefit.search.jobs.beginning import new_header
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.header import JobHeader, JobState

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.payload import Payload
    from servefit.search.storage.jobs import JobStore

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

on_a_file = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For what does not depend on the kind of database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A job as the host that begins it knows it."""

    header: JobHeader
    payload: Payload
    payload_file: Path


Begin = Callable[[Any, Any], Begun]


@pytest.fixture(scope="module")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of the first host, in which every model is opened once."""
    return tmp_path_factory.mktemp("first")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models of the first host come from."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny.ubj")
    early = tiny_booster()
    early.set_attr(best_iteration="0")
    early.save_model(folder / "early.ubj")
    quantised(folder / "quantised.onnx")
    encoder(folder / "encoder.onnx")
    from sklearn.linear_model import LogisticRegression

    labels = (ROWS[:, 0] > 19).astype(int)
    (folder / "logistic.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(ROWS, labels)))
    import xgboost

    classifier = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(ROWS, labels)
    (folder / "classifier.pkl").write_bytes(pickle.dumps(classifier))
    return folder


@pytest.fixture
def begin(first_home: Path, tmp_path: Path) -> Begin:
    def begin(source: Any, rows: Any = ROWS) -> Begun:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SERVEFIT_HOME", str(first_home))
            model = Model.load(source, trust_pickle=True, trust_code=True)
            payload = payload_for(model, rows)
            model = check_batch_dependence(with_sizes_of(model, payload), payload)
        profiles = (InstanceProfile(name="local-1c", vcpus=1, memory_bytes=2**30),)
        header = new_header(JobRequest(name="job", profiles=("local-1c",)), model, payload, describe_host(), profiles)
        payload_file = tmp_path / "payload.npy"
        np.save(payload_file, payload.rows)
        return Begun(header=header, payload=payload, payload_file=payload_file)

    return begin


@pytest.fixture(autouse=True)
def other_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of this host, which has none of the models."""
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "other"))
    return tmp_path / "other"


@pytest.fixture
def kept(store: JobStore) -> Blobs:
    return Blobs.of(store)


def published(kept: Blobs, begun: Begun) -> JobHeader:
    """Publish the job; give its header as if its model were at no path of this host."""
    publish(kept, begun.header, begun.payload_file)
    return at(begun.header, "/nowhere/model")


def at(header: JobHeader, source: object) -> JobHeader:
    return replace(header, model=replace(header.model, source=str(source)))


def forget(store: JobStore, digest: str) -> None:
    store._database.run(
        lambda connection: connection.exec_driver_sql(f"DELETE FROM servefit_blobs WHERE digest = '{digest}'")
    )


def test_another_host_obtains_the_model_and_the_payload_of_a_job(
    kept: Blobs, begin: Begin, models: Path, other_home: Path
) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    header = published(kept, begun)
    found = obtain(kept, header, trust_pickle=False)
    assert found.model == replace(header.model, file=found.model.file, splits=found.model.splits)
    for file in (found.model.file, found.model.splits):
        assert file is not None
        assert file.is_relative_to(other_home)
    assert sha256(found.model.file.read_bytes()).hexdigest() == header.model.digest
    assert np.array_equal(found.payload.rows, begun.payload.rows)
    assert found.payload.rows.dtype == begun.payload.rows.dtype
    assert found.payload.rows.flags.c_contiguous
    assert replace(found.payload, rows=ROWS) == replace(begun.payload, rows=ROWS)
    assert [path.name for path in (other_home / "models").iterdir()] == [header.model.digest]


@on_a_file
def test_requests_that_have_sizes_of_their_own_are_the_same_on_another_host(
    kept: Blobs, begin: Begin, tmp_path: Path
) -> None:
    requests = [{name: values[0] for name, values in text(length).items()} for length in (3, 9, 5)]
    begun = begin(texts(tmp_path / "texts.onnx"), requests)
    found = obtain(kept, published(kept, begun), trust_pickle=False)
    assert found.model.signature == begun.header.model.signature
    assert [size.drawn for size in found.model.signature.sizes] == [(3, 5, 9)]
    assert np.array_equal(found.payload.rows, begun.payload.rows)
    assert found.payload.sizes == begun.payload.sizes


@on_a_file
@pytest.mark.parametrize("kind", ["early", "live", "batch-dependent", "several inputs", "converted pickle"])
def test_whatever_the_first_host_made_of_its_source_is_what_others_obtain(
    kept: Blobs, begin: Begin, models: Path, kind: str
) -> None:
    if kind == "early":
        begun = begin(models / "early.ubj", ROWS)
        assert "iterations are served" in begun.header.model.warnings[0]
    elif kind == "live":
        begun = begin(tiny_booster(), ROWS)
        assert begun.header.model.source == "a live Booster"
    elif kind == "batch-dependent":
        begun = begin(models / "quantised.onnx", np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32))
        assert begun.header.model.batch_dependent
    elif kind == "several inputs":
        begun = begin(models / "encoder.onnx", None)
        assert begun.payload.synthetic
        assert begun.payload.rows.dtype == np.int64
    else:
        begun = begin(models / "classifier.pkl", ROWS)
        assert begun.header.model.format is Format.XGBOOST_UBJSON
    publish(kept, begun.header, begun.payload_file)
    found = obtain(kept, begun.header, trust_pickle=False)
    assert found.model == replace(begun.header.model, file=found.model.file, splits=found.model.splits)
    assert np.array_equal(found.payload.rows, begun.payload.rows)
    assert found.payload.rows.dtype == begun.payload.rows.dtype


@on_a_file
def test_a_model_that_this_host_keeps_is_not_asked_for(
    kept: Blobs, store: JobStore, begin: Begin, models: Path
) -> None:
    header = published(kept, begin(models / "tiny.ubj", ROWS))
    own = Model.load(models / "tiny.ubj")
    forget(store, header.model.digest)
    found = obtain(kept, header, trust_pickle=False)
    assert (found.model.file, found.model.source) == (own.file, "/nowhere/model")


@on_a_file
def test_a_model_at_a_shared_path_is_taken_from_there_while_it_is_the_same(
    kept: Blobs, store: JobStore, begin: Begin, models: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared.ubj"
    shared.write_bytes((models / "early.ubj").read_bytes())
    header = at(published(kept, begin(models / "tiny.ubj", ROWS)), shared)
    forget(store, header.model.digest)
    with pytest.raises(StorageError, match=f"the content {header.model.digest[:12]} is not there"):
        obtain(kept, header, trust_pickle=False)
    shared.write_bytes((models / "tiny.ubj").read_bytes())
    assert obtain(kept, header, trust_pickle=False).model.digest == header.model.digest


@on_a_file
@pytest.mark.parametrize("source", ["relative.ubj", "/dev/zero", "/etc/passwd", "/root/\0", "/" + "x" * 5000, "/", ""])
def test_what_else_is_at_the_path_on_this_host_is_left_alone(
    kept: Blobs, begin: Begin, models: Path, source: str
) -> None:
    header = at(published(kept, begin(models / "tiny.ubj", ROWS)), source)
    assert obtain(kept, header, trust_pickle=False).model.source == source


@on_a_file
def test_a_pickle_is_opened_by_agents_that_trust_it_alone(
    kept: Blobs, store: JobStore, begin: Begin, models: Path
) -> None:
    begun = begin(models / "logistic.pkl", ROWS)
    header = published(kept, begun)
    assert header.model.format is Format.PICKLE
    with pytest.raises(ModelError, match="agent on this host was started without --trust-pickle"):
        obtain(kept, header, trust_pickle=False)
    assert obtain(kept, header, trust_pickle=True).model.signature == header.model.signature
    # That it was trusted before says nothing of this agent, and it is not even looked for.
    forget(store, header.model.digest)
    with pytest.raises(ModelError, match="agent on this host was started without --trust-pickle"):
        obtain(kept, header, trust_pickle=False)


@on_a_file
def test_a_script_is_run_by_agents_that_trust_it_alone(kept: Blobs, begin: Begin, tmp_path: Path) -> None:
    begun = begin(
        scripted(tmp_path / "model.tar.gz", WORDS), Bodies(source=[b"one", b"three"], content_type="text/csv")
    )
    header = published(kept, begun)
    assert header.model.format is Format.SCRIPT
    with pytest.raises(ModelError, match="agent on this host was started without --trust-code"):
        obtain(kept, header, trust_pickle=True)
    found = obtain(kept, header, trust_pickle=False, trust_code=True)
    assert found.model == replace(header.model, file=found.model.file)
    assert found.payload.rows.tobytes() == begun.payload.rows.tobytes()


class Hostile:
    """Makes the file that it names when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._path), "w")


@on_a_file
@pytest.mark.parametrize("place", ["database", "shared path"])
def test_a_pickle_that_the_header_calls_otherwise_is_not_unpickled(
    kept: Blobs, begin: Begin, models: Path, tmp_path: Path, place: str
) -> None:
    file, made = tmp_path / "hostile.ubj", tmp_path / "made"
    file.write_bytes(pickle.dumps(Hostile(made)))
    header = published(kept, begin(models / "tiny.ubj", ROWS))
    digest = kept.put(file) if place == "database" else sha256(file.read_bytes()).hexdigest()
    lying = replace(header, model=replace(header.model, digest=digest, source=str(file)))
    with pytest.raises((ModelError, StorageError)):
        obtain(kept, lying, trust_pickle=False)
    assert not made.exists()
    # It is one: whoever trusts it runs it.
    with pytest.raises(ModelError):
        obtain(kept, lying, trust_pickle=True)
    assert made.exists()


@on_a_file
def test_a_pickle_is_trusted_with_the_content_of_the_job_and_with_no_other(
    kept: Blobs, begin: Begin, models: Path, tmp_path: Path
) -> None:
    file, made = tmp_path / "hostile.pkl", tmp_path / "made"
    file.write_bytes(pickle.dumps(Hostile(made)))
    header = at(published(kept, begin(models / "logistic.pkl", ROWS)), file)
    assert obtain(kept, header, trust_pickle=True).model.digest == header.model.digest
    assert not made.exists()


@on_a_file
def test_an_archive_in_the_place_of_the_model_is_refused(
    kept: Blobs, begin: Begin, models: Path, write_archive: Callable[[Path], Path]
) -> None:
    header = published(kept, begin(models / "tiny.ubj", ROWS))
    archive = write_archive(models / "tiny.ubj")
    lying = replace(header, model=replace(header.model, digest=kept.put(archive)))
    with pytest.raises(CorruptModel, match="is not the model that the job began with"):
        obtain(kept, lying, trust_pickle=False)


@pytest.fixture
def write_archive(tmp_path: Path) -> Callable[[Path], Path]:
    import tarfile

    def write(member: Path) -> Path:
        with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
            archive.add(member, member.name)
        return tmp_path / "model.tar.gz"

    return write


@on_a_file
def test_a_model_in_which_this_host_sees_another_is_refused(kept: Blobs, begin: Begin, models: Path) -> None:
    header = published(kept, begin(models / "tiny.ubj", ROWS))
    other = replace(header.model, signature=replace(header.model.signature, accepts_missing=False))
    with pytest.raises(CorruptModel, match="install the same version of xgboost on both hosts"):
        obtain(kept, replace(header, model=other), trust_pickle=False)


@on_a_file
class TestAModelAboveTheLimit:
    @pytest.fixture(autouse=True)
    def _small_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subject, "MAX_BYTES", 500)

    @pytest.mark.parametrize("source", ["tiny.ubj", "a live Booster"])
    def test_has_to_be_named_by_an_absolute_path(self, kept: Blobs, begin: Begin, models: Path, source: str) -> None:
        begun = begin(models / "tiny.ubj", ROWS)
        with pytest.raises(
            SpecError, match=r"model: .* is larger than .*; keep the model at a path that all hosts share"
        ):
            publish(kept, at(begun.header, source), begun.payload_file)

    @pytest.mark.parametrize("name", ["tiny.ubj", "early.ubj"])
    def test_is_not_put_into_the_database_and_comes_from_the_shared_path(
        self, kept: Blobs, begin: Begin, models: Path, tmp_path: Path, name: str
    ) -> None:
        begun = begin(models / name, ROWS)
        header = published(kept, begun)
        assert not kept.exists(header.model.digest)
        with pytest.raises(CorruptModel, match="not at this path here; share the path with this host"):
            obtain(kept, header, trust_pickle=False)
        found = obtain(kept, begun.header, trust_pickle=False)
        assert found.model.digest == header.model.digest
        # From then on this host keeps it.
        assert obtain(kept, header, trust_pickle=False).model.digest == header.model.digest

    def test_is_refused_where_the_shared_file_is_a_pickle_that_it_was_made_of(
        self, kept: Blobs, begin: Begin, models: Path
    ) -> None:
        begun = begin(models / "classifier.pkl", ROWS)
        publish(kept, begun.header, begun.payload_file)
        with pytest.raises(ModelError, match="without --trust-pickle"):
            obtain(kept, begun.header, trust_pickle=False)
        assert obtain(kept, begun.header, trust_pickle=True).model.digest == begun.header.model.digest


@on_a_file
def test_a_payload_above_the_limit_is_refused(
    kept: Blobs, begin: Begin, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    monkeypatch.setattr(subject, "MAX_BYTES", 10)
    with pytest.raises(SpecError, match=r"payload: .* is above .*; give fewer rows"):
        publish(kept, begun.header, begun.payload_file)


@on_a_file
def test_a_job_with_secrets_stays_on_its_host(kept: Blobs, begin: Begin, models: Path) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    environment = (
        EnvironmentRange(variable="OMP_NUM_THREADS", values=("1",)),
        EnvironmentRange(variable="API_TOKEN", values=("hunter2",)),
    )
    secretive = replace(begun.header, request=replace(begun.header.request, environment=environment))
    with pytest.raises(SpecError, match="env: 'API_TOKEN' is a secret, which stays on the host") as refused:
        publish(kept, secretive, begun.payload_file)
    assert "hunter2" not in str(refused.value)
    assert not kept.exists(begun.header.model.digest)


@on_a_file
def test_a_job_whose_metric_is_a_function_is_not_obtained(kept: Blobs, begin: Begin, models: Path) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    publish(kept, begun.header, begun.payload_file)
    quality = QualityLimit(source="labels.csv", metric="os:system", drop=0.1, labels=(1.0,))
    precision = PrecisionLimits(allowed=("int8",), quality=quality)
    header = replace(begun.header, request=replace(begun.header.request, precision=precision))
    with pytest.raises(SpecError, match="metric: 'os:system' is a function"):
        obtain(kept, header, trust_pickle=True, trust_code=True)


@on_a_file
def test_a_payload_that_is_not_what_the_job_began_with_is_refused(
    kept: Blobs, begin: Begin, models: Path, tmp_path: Path
) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    np.save(tmp_path / "other.npy", begun.payload.rows + 1)
    (tmp_path / "text.npy").write_text("no rows")
    np.save(tmp_path / "objects.npy", np.array([Hostile(tmp_path / "made")]), allow_pickle=True)
    for name, problem in (
        ("other.npy", "is not what the job began with"),
        ("text.npy", "cannot be read"),
        ("objects.npy", "cannot be read"),
        ("missing.npy", "cannot be read"),
    ):
        with pytest.raises(SpecError, match=problem):
            publish(kept, begun.header, tmp_path / name)
    assert not (tmp_path / "made").exists()
    assert not kept.exists(begun.header.model.digest)


@on_a_file
@pytest.mark.parametrize("rows", [0, 19, 21, 2**40])
def test_a_header_that_is_not_true_of_the_payload_is_told(kept: Blobs, begin: Begin, models: Path, rows: int) -> None:
    header = published(kept, begin(models / "tiny.ubj", ROWS))
    with pytest.raises(PayloadMismatch, match=f"expected {rows} rows of 2 columns of float32, got 160 bytes"):
        obtain(kept, replace(header, payload=replace(header.payload, rows=rows)), trust_pickle=False)


@on_a_file
def test_a_model_that_was_changed_on_the_first_host_is_not_published(
    kept: Blobs, begin: Begin, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a state folder of its own, which is damaged here.
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "damaged"))
    begun = begin(models / "tiny.ubj", ROWS)
    file = tmp_path / "model.ubj"
    file.write_bytes(b"{L damaged")
    header = at(begun.header, "/nowhere/model")
    damaged = replace(header, model=replace(header.model, file=file))
    with pytest.raises(CorruptModel, match="it is gone, or not what it was"):
        publish(kept, damaged, begun.payload_file)
    assert not kept.exists(header.model.digest)


def test_a_damaged_model_is_told_and_is_whole_once_the_job_is_published_again(
    kept: Blobs, store: JobStore, begin: Begin, models: Path
) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    header = published(kept, begun)
    store._database.run(
        lambda connection: connection.exec_driver_sql("UPDATE servefit_blob_chunks SET bytes = 'damaged'")
    )
    with pytest.raises(StorageError, match="is damaged"):
        obtain(kept, header, trust_pickle=False)
    publish(kept, begun.header, begun.payload_file)
    with pytest.raises(StorageError, match="is damaged"):
        obtain(kept, header, trust_pickle=False)  # the payload, which nobody has read before
    publish(kept, begun.header, begun.payload_file)
    assert obtain(kept, header, trust_pickle=False).model.digest == header.model.digest


def test_what_no_job_needs_any_more_is_deleted(store: JobStore, kept: Blobs, begin: Begin, models: Path) -> None:
    jobs = {}
    for name, file in (("over", "tiny.ubj"), ("stopped", "early.ubj")):
        begun = begin(models / file, ROWS + len(name))
        header = replace(begun.header, request=replace(begun.header.request, name=name))
        jobs[name] = store.create(header)
        publish(kept, header, begun.payload_file)
    assert delete_unneeded(store) == 0
    jobs["over"].set_state(JobState(status="COMPLETED"))
    jobs["stopped"].set_state(JobState(status="STOPPED"))
    assert delete_unneeded(store) == 2
    for name, job in jobs.items():
        for digest in (job.header.model.digest, job.header.payload.digest):
            assert kept.exists(digest) == (name == "stopped")


def test_nothing_is_deleted_while_there_is_a_job_that_cannot_be_read(
    store: JobStore, kept: Blobs, begin: Begin, models: Path
) -> None:
    begun = begin(models / "tiny.ubj", ROWS)
    store.create(begun.header)
    publish(kept, begun.header, begun.payload_file)
    store._database.run(
        lambda connection: connection.exec_driver_sql("DELETE FROM servefit_documents WHERE key = 'servefit:header'")
    )
    assert delete_unneeded(store) == 0
    assert kept.exists(begun.header.model.digest)
