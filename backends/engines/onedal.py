"""Tree ensembles served by oneDAL, through daal4py of scikit-learn-intelex (x86 only).

daal4py's own converters are wrong about most objectives and about float64 thresholds. Ensembles therefore reach it as
plain sums of trees whose thresholds are the float32 ones that decide alike, and the sums are made predictions here.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.trees import header, output_facts, read_trees, readable
from servefit.backends.model.types import Task
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import treelite

    from servefit.backends.model import Model

_LESS, _LESS_OR_EQUAL = 2, 3  # Treelite's comparison operators
_REGRESSION = 1  # Treelite's task type

_BEYOND_FLOAT32 = 1e300
"""Any float64 that becomes infinite as float32, which ends at 3.4e38."""

_CLASSES_IN_LEAVES = ("RandomForestClassifier", "ExtraTreesClassifier", "MultiClass", "MultiClassOneVsAll")
"""Objectives of scikit-learn and CatBoost."""


class OneDALBackend:
    """Serves ensembles with one output, and multi-class ones that end in a softmax; no categorical splits."""

    name = "onedal"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("daal4py predicts tree ensembles on the CPU only")
        return installed(
            "daal4py", "scikit-learn-intelex", "daal4py", remedy="pip install 'servefit[onedal]' (x86 only)"
        )

    def supports(self, model: Model) -> Availability:
        availability = readable(model)
        if not availability.available or model.trees is None:
            return availability
        if model.signature.row_datatype == "float64":
            return Availability.no("oneDAL compares float32, and the model's own library float64")
        if model.trees.categorical_splits:
            return Availability.no("daal4py does not take categorical splits")
        if model.trees.objective in _CLASSES_IN_LEAVES:
            return Availability.no("daal4py takes one value a leaf, and these hold one for each class")
        if model.signature.task is Task.MULTICLASS and {"one_vs_all", "average_output"} & {*model.trees.peculiarities}:
            return Availability.no("daal4py takes multi-class models that are sums of trees with a softmax")
        if model.signature.outputs > 1 and model.signature.task is not Task.MULTICLASS:
            return Availability.no("daal4py takes one target at a time")
        return Availability.yes()

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        nodes = 0 if model.trees is None else model.trees.nodes
        return 2.5 + nodes * 8e-6

    def cache_key(self) -> str:
        return "1"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        from daal4py.mb import convert_model

        trees = read_trees(model, self.name)
        postprocessor = header(trees, "postprocessor")
        classes = model.signature.outputs if model.signature.task is Task.MULTICLASS else 1
        if int(np.prod(header(trees, "leaf_vector_shape"))) > 1:
            raise CompileFailed(self.name, "its leaves hold several values each, and daal4py takes one")
        if postprocessor not in (["softmax"] if classes > 1 else _POSTPROCESSORS):
            raise CompileFailed(self.name, f"it ends in Treelite's post-processor {postprocessor!r}")
        facts = {
            "classes": classes,
            "postprocessor": postprocessor,
            "sigmoid_alpha": float(header(trees, "sigmoid_alpha")),
            "ratio_c": float(header(trees, "ratio_c")),
            "outlier_offset": output_facts(model, trees)["outlier_offset"],
        }
        _use_float32_thresholds(trees)
        if classes == 1:
            fields = trees.get_header_accessor()
            fields.set_field("task_type", np.array([_REGRESSION], dtype=fields.get_field("task_type").dtype))
            fields.set_field("postprocessor", "identity")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                converted = convert_model(trees).daal_model_
        except (TypeError, ValueError) as error:
            raise CompileFailed(self.name, f"daal4py cannot convert it: {error}") from error
        (workdir / "model.pkl").write_bytes(pickle.dumps(converted))
        return facts

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        import daal4py

        daal4py.daalinit(settings.threads)
        model = pickle.loads((artifact.folder / "model.pkl").read_bytes())
        return _Classes(model, artifact.facts) if artifact.facts["classes"] > 1 else _OneOutput(model, artifact.facts)


def _use_float32_thresholds(trees: treelite.Model) -> None:
    """Turn every x <= t into x < t', with t' the next float32 above t: the same for every float32 x. oneDAL compares
    in float32, and would have rounded t either way."""
    for number in range(trees.num_tree):
        tree = trees.get_tree_accessor(number)
        comparison, threshold = tree.get_field("cmp"), tree.get_field("threshold")
        inclusive = comparison == _LESS_OR_EQUAL
        if not inclusive.any():
            continue
        with np.errstate(over="ignore"):
            rounded = threshold.astype(np.float32)
            after = np.nextafter(rounded, np.float32(np.inf))
        above = rounded.astype(np.float64) > threshold
        following = np.where(above, rounded, after)
        # JSON, which daal4py reads the trees from, has no infinity; as a float32 this is one again.
        following = np.clip(following.astype(np.float64), -_BEYOND_FLOAT32, _BEYOND_FLOAT32)
        tree.set_field("threshold", np.where(inclusive, following, threshold).astype(threshold.dtype))
        tree.set_field("cmp", np.where(inclusive, _LESS, comparison).astype(comparison.dtype))


def _sigmoid(margins: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    alpha = np.float32(-facts["sigmoid_alpha"])
    with np.errstate(over="ignore"):
        result: np.ndarray = 1 / (1 + np.exp(margins * alpha))
    return result


def _anomaly(margins: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Return scikit-learn's decision function of an isolation forest from the mean path length."""
    result: np.ndarray = -np.exp2(margins / np.float32(-facts["ratio_c"])) - np.float32(facts["outlier_offset"])
    return result


_POSTPROCESSORS: dict[str, Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]] = {
    "identity": lambda margins, _: margins,
    "sigmoid": _sigmoid,
    "exponential": lambda margins, _: np.exp(margins),
    "logarithm_one_plus_exp": lambda margins, _: np.logaddexp(margins, 0),
    "signed_square": lambda margins, _: margins * np.abs(margins),
    "hinge": lambda margins, _: (margins > 0).astype(np.float32),
    "exponential_standard_ratio": _anomaly,
}


class _OneOutput:
    """Sums the trees with oneDAL and makes the sums predictions."""

    def __init__(self, model: Any, facts: Mapping[str, Any]) -> None:
        import daal4py

        self._algorithm, self._model, self._facts = daal4py.gbt_regression_prediction, model, facts
        self._finish = _POSTPROCESSORS[facts["postprocessor"]]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        # An algorithm keeps its result, and the size of it: a second call would overwrite it, or fail.
        margins = self._algorithm(fptype="float").compute(rows, self._model).prediction
        return self._finish(margins.reshape(-1), self._facts)

    def close(self) -> None:
        vars(self).clear()


class _Classes:
    """Class probabilities by oneDAL's own softmax."""

    def __init__(self, model: Any, facts: Mapping[str, Any]) -> None:
        import daal4py

        self._algorithm, self._model = daal4py.gbt_classification_prediction, model
        self._options = {"nClasses": facts["classes"], "fptype": "float"}
        self._options["resultsToEvaluate"] = "computeClassProbabilities"

    def predict(self, rows: np.ndarray) -> np.ndarray:
        probabilities: np.ndarray = self._algorithm(**self._options).compute(rows, self._model).probabilities
        return probabilities

    def close(self) -> None:
        vars(self).clear()
