"""The contract of a backend, tested on every kind of model with the model's own library as oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from servefit.backends.checking.parity import compare
from servefit.backends.compilation import compile_model
from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Predictor, Settings, Target
from servefit.errors import BackendError, BackendUnavailable, CompileFailed
from servefit.isolation import call_isolated

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.checking.verification import RowSet
    from servefit.backends.model import Model

pytestmark = pytest.mark.integration

XGBOOST_TREES = (
    *("xgboost binary", "xgboost multi-class", "xgboost regression", "xgboost poisson", "xgboost ranking"),
    *("xgboost random forest", "xgboost dart", "xgboost cox", "xgboost aft", "xgboost hinge", "xgboost logitraw"),
)
XGBOOST_OTHERS = (
    *("xgboost categorical", "xgboost softmax", "xgboost quantile", "xgboost multi-target", "xgboost linear"),
)
LIGHTGBM_TREES = (
    *("lightgbm binary", "lightgbm multi-class", "lightgbm ranking", "lightgbm random forest", "lightgbm dart"),
    "lightgbm sqrt",
)
LIGHTGBM_OTHERS = ("lightgbm categorical", "lightgbm one-vs-all", "lightgbm zero as missing", "lightgbm linear trees")
CATBOOST_TREES = (
    *("catboost binary", "catboost multi-class", "catboost one-vs-all", "catboost regression", "catboost poisson"),
    *("catboost ranking", "catboost multi-target"),
)
SKLEARN_TREES = ("sklearn boosting", "sklearn exponential", "sklearn histogram", "sklearn isolation forest")
SKLEARN_OTHERS = ("sklearn random forest", "sklearn logistic regression")
ONNX = ("onnx labels and maps", "onnx network", "onnx whole numbers")
TORCH = ("torch program", "torch script")
ALL = (
    *(*XGBOOST_TREES, *XGBOOST_OTHERS, *LIGHTGBM_TREES, *LIGHTGBM_OTHERS, *SKLEARN_TREES, *SKLEARN_OTHERS),
    *CATBOOST_TREES,
    *ONNX,
    *(pytest.param(case, marks=pytest.mark.thorough) for case in TORCH),
)

Load = Callable[..., Predictor]
Artifacts = Callable[[str, str], Artifact]


class BackendContract:
    """Subclassed for each backend: its ``name`` and the cases that it ``serves``; it must refuse all others."""

    name: ClassVar[str]
    serves: ClassVar[tuple[str, ...]]

    @pytest.fixture
    def load(self, artifacts: Artifacts) -> Iterator[Load]:
        opened: list[Predictor] = []

        def load(case: str | None = None, threads: int = 1, **options: Any) -> Predictor:
            settings = Settings(threads=threads, options=tuple(sorted(options.items())))
            opened.append(imported(self.name).load(artifacts(self.name, case or self.serves[0]), settings))
            return opened[-1]

        yield load
        for predictor in opened:
            predictor.close()

    @pytest.fixture
    def rows(self, models: dict[str, Model], cases: Callable[[str], Any]) -> np.ndarray:
        return models[self.serves[0]].signature.as_rows(cases(self.serves[0]).rows)

    @pytest.mark.parametrize("case", ALL)
    def test_a_model_is_served_as_its_own_library_does_or_refused_with_a_reason(
        self, case: str, models: dict[str, Model], cases: Callable[[str], Any], load: Load
    ) -> None:
        supported = imported(self.name).supports(models[case])
        assert supported.available == (case in self.serves)
        if not supported.available:
            assert supported.reason
            return
        expected, model = cases(case).expected, models[case]
        got = load(case).predict(model.signature.as_rows(cases(case).rows))
        assert got.dtype.kind == "f"
        assert got.shape == expected.shape
        compare(model, self.name, expected, got, np.full(len(got), "sample rows"))

    # scikit-learn adds up all values of a batch to look for gaps, and extreme ones overflow.
    @pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
    @pytest.mark.parametrize("case", ALL)
    def test_rows_drawn_from_the_model_are_predicted_as_its_own_library_does(
        self,
        case: str,
        models: dict[str, Model],
        references: Callable[[str], tuple[RowSet, np.ndarray]],
        load: Load,
    ) -> None:
        if case not in self.serves:
            assert not imported(self.name).supports(models[case]).available
            return
        drawn, expected = references(case)
        got = load(case).predict(models[case].signature.as_rows(drawn.rows))
        agreement = compare(models[case], self.name, expected, got, drawn.kinds)
        assert agreement.rows == len(drawn.rows)

    def test_rows_one_at_a_time_and_in_batches_give_the_same(self, load: Load, rows: np.ndarray) -> None:
        predictor = load()
        together = predictor.predict(rows)
        for size in (1, 3, 16):
            parts = [predictor.predict(rows[begin : begin + size]) for begin in range(0, 48, size)]
            # A sum near zero is the difference of larger parts; each side rounds them by half of this.
            atol = np.finfo(np.float32).eps * np.abs(together).max()
            np.testing.assert_allclose(np.concatenate(parts), together[:48], rtol=1e-6, atol=atol)

    def test_the_rows_are_not_modified(self, load: Load, rows: np.ndarray) -> None:
        given = rows.copy()
        load().predict(given)
        assert given.tobytes() == rows.tobytes()

    def test_a_result_stays_as_it_is_after_the_next_call(self, load: Load, rows: np.ndarray) -> None:
        predictor = load()
        first = predictor.predict(rows[:5])
        kept = first.copy()
        predictor.predict(rows[5:10])
        np.testing.assert_array_equal(first, kept)

    @pytest.mark.timed
    def test_two_threads_predict_what_one_does(self, load: Load, rows: np.ndarray) -> None:
        np.testing.assert_allclose(load(threads=2).predict(rows), load(threads=1).predict(rows), rtol=1e-6)

    def test_two_artifacts_of_one_model_predict_the_same(
        self, compile_again: Callable[[str, str, Path], Artifact], load: Load, rows: np.ndarray, tmp_path: Path
    ) -> None:
        again = imported(self.name).load(compile_again(self.name, self.serves[0], tmp_path), Settings())
        np.testing.assert_array_equal(again.predict(rows), load().predict(rows))

    def test_closing_twice_does_nothing_more(self, artifacts: Artifacts) -> None:
        predictor = imported(self.name).load(artifacts(self.name, self.serves[0]), Settings())
        predictor.close()
        predictor.close()

    def test_probing_says_what_is_there_or_what_is_missing(self) -> None:
        assert imported(self.name).probe().version
        on_cuda = imported(self.name).probe(Target.CUDA)
        assert on_cuda.available or on_cuda.reason

    @pytest.mark.timed
    def test_every_knob_offers_values_that_load_takes(
        self, models: dict[str, Model], load: Load, rows: np.ndarray
    ) -> None:
        for knob in imported(self.name).knobs(models[self.serves[0]], vcpus=2):
            assert knob.values
            for value in knob.values:
                chosen: dict[str, Any] = {"threads": 2, knob.name: value}
                assert len(load(**chosen).predict(rows)) == len(rows)

    def test_compiling_takes_some_time_by_its_own_estimate(self, models: dict[str, Model]) -> None:
        cases = [case for case in self.serves if case not in TORCH] or TORCH  # which take seconds to export
        estimates = [imported(self.name).compile_estimate_s(models[case]) for case in cases]
        assert all(0 < estimate < 30 for estimate in estimates)

    def test_what_it_says_of_itself_is_understood_where_it_is_not_imported(self, models: dict[str, Model]) -> None:
        model, said, own = models[self.serves[0]], backend(self.name), imported(self.name)
        assert said.supports(model) == own.supports(model)
        assert said.probe() == own.probe()
        assert said.knobs(model, 2) == own.knobs(model, 2)
        assert said.cache_key() == own.cache_key()

    def test_an_artifact_works_in_a_fresh_process(
        self, models: dict[str, Model], cases: Callable[[str], Any], artifacts: Artifacts
    ) -> None:
        case, artifact = cases(self.serves[0]), artifacts(self.name, self.serves[0])
        [(together, singly)] = call_isolated(
            "servefit.backends.checking.steps:predict_candidate",
            artifact,
            [models[self.serves[0]].signature.as_rows(case.rows)],
            timeout_s=60,
        )
        compare(models[self.serves[0]], self.name, case.expected, together, np.full(len(together), "sample rows"))
        atol = 1e-7 * np.abs(together).max()  # as above
        np.testing.assert_allclose(singly, together[: len(singly)], rtol=1e-6, atol=atol)


class TestXGBoost(BackendContract):
    name = "xgboost"
    serves = (*XGBOOST_TREES, *XGBOOST_OTHERS)

    def test_a_gpu_that_is_not_there_is_an_error_and_not_the_cpu(self, artifacts: Artifacts) -> None:
        assert_no_fallback(self.name, artifacts(self.name, self.serves[0]))


class TestLightGBM(BackendContract):
    name = "lightgbm"
    serves = (*LIGHTGBM_TREES, *LIGHTGBM_OTHERS)


class TestCatBoost(BackendContract):
    name = "catboost"
    serves = CATBOOST_TREES


class TestSklearn(BackendContract):
    name = "sklearn"
    serves = (*SKLEARN_OTHERS, *SKLEARN_TREES)


class TestTreelite(BackendContract):
    name = "treelite"
    serves = (
        *XGBOOST_TREES,
        *("xgboost categorical", "xgboost quantile", "xgboost multi-target"),
        *LIGHTGBM_TREES,
        *("lightgbm categorical", "lightgbm one-vs-all"),
        *SKLEARN_TREES,
        "sklearn random forest",
        *CATBOOST_TREES,
    )


class TestTL2cgen(BackendContract):
    name = "tl2cgen"
    serves = tuple(
        case
        for case in TestTreelite.serves
        if case not in ("xgboost quantile", "xgboost multi-target", "catboost multi-target")
    )


class TestOneDAL(BackendContract):
    """It compares float32, so what compares float64 is not among its models."""

    name = "onedal"
    serves = (
        *(*XGBOOST_TREES, *(case for case in SKLEARN_TREES if case != "sklearn histogram")),
        *("catboost binary", "catboost regression", "catboost poisson", "catboost ranking"),
    )


class TestForest(BackendContract):
    name = "forest"
    serves = TestTreelite.serves


class TestOnnxRuntime(BackendContract):
    name = "onnxruntime"
    serves = (*TestTreelite.serves, "sklearn logistic regression", *ONNX, *TORCH)

    def test_a_gpu_that_is_not_there_is_an_error_and_not_the_cpu(self, artifacts: Artifacts) -> None:
        assert_no_fallback(self.name, artifacts(self.name, self.serves[0]))

    def test_spinning_changes_nothing_about_the_predictions(self, load: Load, rows: np.ndarray) -> None:
        spinning, sleeping = load(threads=2, allow_spinning=True), load(threads=2, allow_spinning=False)
        np.testing.assert_array_equal(spinning.predict(rows), sleeping.predict(rows))


class TestOpenVino(BackendContract):
    name = "openvino"
    serves = ("onnx network", *TORCH)


@pytest.mark.thorough  # tests/backends/engines/torch has daily ones
class TestTorch(BackendContract):
    name = "torch"
    serves = TORCH


class TestWholePath:
    """What converters are known to get wrong, through ``compile_model`` as a user calls it."""

    @pytest.mark.parametrize("name", ["onnxruntime", "treelite", "tl2cgen", "onedal", "forest"])
    @pytest.mark.parametrize(
        "case",
        [
            *("xgboost aft", "xgboost cox", "xgboost hinge", "xgboost logitraw", "xgboost ranking", "xgboost quantile"),
            *("xgboost multi-target", "xgboost softmax", "lightgbm zero as missing", "lightgbm sqrt"),
            *("lightgbm linear trees", "lightgbm one-vs-all", "lightgbm random forest", "sklearn isolation forest"),
        ],
    )
    @pytest.mark.usefixtures("steps_in_this_process")
    def test_an_odd_model_is_exact_or_refused(self, case: str, name: str, models: dict[str, Model]) -> None:
        served = {
            "treelite": TestTreelite,
            "tl2cgen": TestTL2cgen,
            "onedal": TestOneDAL,
            "onnxruntime": TestOnnxRuntime,
            "forest": TestForest,
        }
        if case not in served[name].serves:
            with pytest.raises(CompileFailed):
                compile_model(models[case], name)
            return
        compiled = compile_model(models[case], name)
        assert compiled.rows_checked == 1024
        assert compiled.max_rel_error < 1e-4


def assert_no_fallback(name: str, artifact: Artifact) -> None:
    available = imported(name).probe(Target.CUDA)
    on_cuda = Artifact(
        backend=name,
        backend_version=artifact.backend_version,
        model_digest=artifact.model_digest,
        target=Target.CUDA,
        folder=artifact.folder,
        facts=artifact.facts,
    )
    if available.available:
        assert imported(name).load(on_cuda, Settings()).predict(np.zeros((1, 6), dtype=np.float32)).size == 1
    else:
        with pytest.raises(BackendUnavailable) as raised:
            imported(name).load(on_cuda, Settings())
        assert isinstance(raised.value, BackendError)
        assert "cuda" in str(raised.value).lower()
