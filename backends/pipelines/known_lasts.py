"""The last steps that are computed here: what each has been fitted to, read from the attributes that scikit-learn
documents. As with other steps, what is read is tried before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.pipelines.branches import Chain
from servefit.backends.pipelines.lasts import Bells, Labels, Layers, Linear, Second
from servefit.backends.pipelines.numbers import Elementwise

if TYPE_CHECKING:
    from servefit.backends.pipelines.values import PipelineStep


def known_last(estimator: Any, method: str) -> PipelineStep | None:
    """Return what computes ``method`` of ``estimator``, or None where it is not known."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn."):
        return None
    try:
        if kind.__name__ in _READERS:
            return _READERS[kind.__name__](estimator, method)
        if kind.__module__.startswith(
            ("sklearn.linear_model.", "sklearn.svm._classes", "sklearn.discriminant_analysis")
        ):
            return _linear(estimator, method)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None  # scikit-learn computes it, and is named
    return None


def _linear(estimator: Any, method: str) -> PipelineStep | None:
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    bases = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), weights.shape[1:])
    weights, bases = np.ascontiguousarray(weights), np.array(bases)
    name = type(estimator).__name__
    if method == "predict" and hasattr(estimator, "classes_"):
        scores = Linear(weights, bases)
        return Labels(scores, np.asarray(estimator.classes_, dtype=np.float64))
    if method in ("decision_function", "predict"):
        finish = "exp" if name in ("PoissonRegressor", "GammaRegressor") else "identity"
        if name == "TweedieRegressor":
            finish = {"HalfTweedieLoss": "exp", "HalfTweedieLossIdentity": "identity"}[
                type(estimator._get_loss()).__name__
            ]
        return Linear(weights, bases, finish)
    if name == "LinearDiscriminantAnalysis" or name in ("LogisticRegression", "LogisticRegressionCV"):
        together = name == "LinearDiscriminantAnalysis" or _is_multinomial(estimator)
    elif name == "SGDClassifier" and estimator.loss == "log_loss":
        together = False
    else:
        return None
    if weights.shape[1] == 1:
        return Linear(weights, bases, "logistic")
    return Linear(weights, bases, "softmax" if together else "one against others")


def _is_multinomial(estimator: Any) -> bool:
    chosen = getattr(estimator, "multi_class", "auto")
    return estimator.solver != "liblinear" if chosen in ("auto", "deprecated", "warn") else chosen == "multinomial"


def _network(estimator: Any, method: str) -> PipelineStep | None:
    if method not in ("predict_proba", "predict") or (method == "predict" and hasattr(estimator, "classes_")):
        return None
    layers = tuple(
        (np.ascontiguousarray(weights, dtype=np.float64), np.asarray(bases, dtype=np.float64))
        for weights, bases in zip(estimator.coefs_, estimator.intercepts_, strict=True)
    )
    return Layers(layers, estimator.activation, estimator.out_activation_)


def _counts_bayes(estimator: Any, method: str) -> PipelineStep | None:
    """Naive Bayes of counts: sums of logarithms."""
    if method != "predict_proba":
        return None
    weights = np.ascontiguousarray(estimator.feature_log_prob_.T)
    bases = np.asarray(estimator.class_log_prior_)
    if type(estimator).__name__ == "ComplementNB" and len(estimator.classes_) > 1:
        bases = np.zeros(len(bases))
    return _of_classes(Linear(weights, bases, "softmax"), len(estimator.classes_))


def _bernoulli_bayes(estimator: Any, method: str) -> PipelineStep | None:
    if method != "predict_proba" or estimator.binarize is None:
        return None
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    weights = np.ascontiguousarray((estimator.feature_log_prob_ - absent).T)
    sums = Linear(weights, estimator.class_log_prior_ + absent.sum(axis=1), "softmax")
    ones = Elementwise(((np.greater, float(estimator.binarize)), (np.multiply, 1.0)), "missing")
    return Chain((ones, _of_classes(sums, len(estimator.classes_))))


def _normal_bayes(estimator: Any, method: str) -> PipelineStep | None:
    if method != "predict_proba":
        return None
    bells = Bells(estimator.theta_, estimator.var_, np.log(estimator.class_prior_))
    return _of_classes(bells, len(estimator.classes_))


def _of_classes(probabilities: PipelineStep, classes: int) -> PipelineStep:
    return Second(probabilities) if classes == 2 else probabilities


_READERS: Mapping[str, Callable[[Any, str], PipelineStep | None]] = {
    "MLPClassifier": _network,
    "MLPRegressor": _network,
    "MultinomialNB": _counts_bayes,
    "ComplementNB": _counts_bayes,
    "BernoulliNB": _bernoulli_bayes,
    "GaussianNB": _normal_bayes,
}
