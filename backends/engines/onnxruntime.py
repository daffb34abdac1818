"""Models run by ONNX Runtime: ONNX models as they are, also those that modules of PyTorch became, tree ensembles
converted by ``onnx_trees``, and other estimators of scikit-learn converted by ``sklearn_onnx``.

The former are prepared and called in ``onnx_native``; sessions are opened in ``onnx_session``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from servefit.backends.converting.sklearn_datatypes import convert
from servefit.backends.converting.sklearn_onnx import CONVERTING_S, converter, convertible
from servefit.backends.libraries.cuda import cuda_device
from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.onnx_session import ORT_NAME, PROVIDERS, UNOPTIMISED, open_session
from servefit.backends.libraries.trees import WholeCategories, category_facts, output_facts, read_trees
from servefit.backends.model.types import Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

    from servefit.backends.libraries.layer_times import LayerTimes
    from servefit.backends.model import Model


class OnnxRuntimeBackend:
    """Serves ONNX models, modules of PyTorch, tree ensembles and estimators of scikit-learn on the CPU, and networks on
    CUDA too. CUDA has not run on a GPU yet."""

    name = "onnxruntime"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        availability = installed("onnxruntime", "onnxruntime", "onnxruntime-gpu", remedy="pip install onnxruntime")
        if target is Target.CPU or not availability.available:
            return availability
        device = cuda_device()
        if not device.available:
            return device
        import onnxruntime

        if PROVIDERS[Target.CUDA] not in onnxruntime.get_available_providers():
            return Availability.no(
                "this onnxruntime was built without CUDA",
                remedy="pip uninstall onnxruntime && pip install onnxruntime-gpu",
            )
        return availability

    def supports(self, model: Model) -> Availability:
        return Availability.yes() if _runs_as_it_is(model) else convertible(model)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        if target is Target.CUDA:
            return ()
        threads = Knob(name="threads", values=thread_counts(vcpus))
        if vcpus == 1:
            return (threads,)
        # Idle threads spin for the next call, which is faster until a neighbour needs their core.
        return (threads, Knob(name="allow_spinning", values=(True, False)))

    def compile_estimate_s(self, model: Model) -> float:
        if model.trees is None:
            return (0.5 if _runs_as_it_is(model) else CONVERTING_S) + model.size_bytes / 5e8
        return 1.0 + model.trees.nodes / 1e5

    def cache_key(self) -> str:
        return f"onnx_trees 2, onnx_io 9, {converter()}"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        if target is Target.CUDA and model.trees is not None:
            # The session would name CUDA as its provider all the same, and run the trees on the CPU.
            raise CompileFailed(self.name, "ONNX Runtime has no CUDA kernel for tree ensembles")
        if _runs_as_it_is(model):
            from servefit.backends.libraries.onnx_native import prepare, prepare_ort

            return prepare_ort(model.file, workdir) if model.onnx_file is None else prepare(model.onnx_file, workdir)
        if model.trees is None:
            return convert(model, workdir, self.name)
        from servefit.backends.converting.onnx_trees import onnx_model

        trees = read_trees(model, self.name)
        outputs = output_facts(model, trees)
        converted = onnx_model(
            trees,
            column=outputs["column"],
            outlier_offset=outputs["outlier_offset"],
            rows=model.signature.row_datatype,
        )
        (workdir / "model.onnx").write_bytes(converted.SerializeToString())
        return {**category_facts(model), "outputs": model.signature.outputs}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        served = self._served(artifact)
        return self._predictor(served, _session(served, settings))

    def layer_times(
        self, artifact: Artifact, settings: Settings, requests: list[np.ndarray], duration_s: float
    ) -> LayerTimes:
        """Time the layers of ``artifact`` in calls with ``requests``, for so long."""
        from servefit.backends.libraries.layer_times import onnx_layer_times

        served = self._served(artifact)
        with TemporaryDirectory() as folder:

            def opened() -> tuple[onnxruntime.InferenceSession, Callable[[np.ndarray], np.ndarray]]:
                session = _session(served, settings, timed_in=Path(folder))
                return session, self._predictor(served, session).predict

            return onnx_layer_times(opened, requests, duration_s)

    def _served(self, artifact: Artifact) -> Artifact:
        """Return ``artifact`` with those of its facts that tell how it is called. Raises BackendError."""
        return artifact

    def _predictor(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> Predictor:
        if "inputs" in artifact.facts:
            from servefit.backends.libraries.onnx_native import NativePredictor

            return NativePredictor(session, artifact.facts)
        if artifact.facts["categorical_features"]:
            return _CategoricalPredictor(session, artifact.facts)
        return _TreePredictor(session, artifact.facts)


def _runs_as_it_is(model: Model) -> bool:
    return model.onnx_file is not None or model.library is Library.ONNX


def _session(artifact: Artifact, settings: Settings, *, timed_in: Path | None = None) -> onnxruntime.InferenceSession:
    optimised = not artifact.facts.get(UNOPTIMISED, False)
    own = artifact.folder / ORT_NAME
    file = own if own.exists() else artifact.folder / "model.onnx"
    return open_session(file, artifact.target, settings, optimised=optimised, timed_in=timed_in)


class _TreePredictor:
    """Runs a converted ensemble."""

    def __init__(self, session: onnxruntime.InferenceSession, facts: Mapping[str, Any]) -> None:
        from servefit.backends.converting.onnx_trees import INPUT, OUTPUT

        self._run, self._input, self._outputs = session.run, INPUT, [OUTPUT]
        self._shape = (-1,) if facts["outputs"] == 1 else (-1, facts["outputs"])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        predictions: np.ndarray = self._run(self._outputs, {self._input: rows})[0].reshape(self._shape)
        return predictions

    def close(self) -> None:
        vars(self).clear()


class _CategoricalPredictor(_TreePredictor):
    """Runs a converted ensemble that splits on categories.

    ONNX compares categories as floats, so fractions are cut off first, as the libraries do.
    """

    def __init__(self, session: onnxruntime.InferenceSession, facts: Mapping[str, Any]) -> None:
        super().__init__(session, facts)
        self._whole = WholeCategories(facts)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return super().predict(self._whole(rows))
