"""Takes a fitted pipeline apart: which of its steps are computed here, and which stay in scikit-learn.

Rows go through both as it is read. A step of ours that gives something else than scikit-learn's own, from what that one
is given, is not used, so an option or a version that is not known here costs speed alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.libraries.trees import is_ensemble
from servefit.backends.model.booster_categories import Categories, booster_of_codes, categories_of, refuses_others
from servefit.backends.model.sklearn_io import has_several_targets
from servefit.backends.model.sklearn_steps import called, is_dropped, is_passed, is_sampler, names_of, positions_of
from servefit.backends.pipelines.branches import Branches, Chain, Chosen, Weighted
from servefit.backends.pipelines.categories import NUMBER, TEXT, ColumnAt
from servefit.backends.pipelines.foreign import CallForm, Foreign
from servefit.backends.pipelines.joined_lasts import joined_last
from servefit.backends.pipelines.known_lasts import known_last
from servefit.backends.pipelines.known_steps import known_step
from servefit.backends.pipelines.numbers import Normalised
from servefit.backends.pipelines.sample import Sample, has_two_classes, predicted
from servefit.backends.pipelines.trees import (
    as_ensemble,
    compile_trees,
    encoded_categories,
    is_sum,
    without_preprocessor,
)
from servefit.backends.pipelines.values import (
    BACKEND,
    MISSING,
    MixedTable,
    PipelineStep,
    Sparse,
    Value,
    dense,
    parts_of,
)
from servefit.errors import CompileFailed, RowsRefused, UnsupportedModel

_ROUNDING = 1e-13
"""Some hundred roundings of float64, as a share: sums over the columns of a table have no more. Chosen."""
_OF_PREDICTIONS = 1e-5
"""Some dozens of roundings of float32, in which forests add up. Chosen."""
_MAX_CELLS = 4_000_000
"""Of what is compared at once: 32 MB."""


class Reader:
    """Reads one pipeline. Forests are written into ``workdir``. ``foreign`` names the steps that stay in scikit-learn,
    in their order, ``own`` counts the others, and ``loaded`` are
    the packages that those which stay load, beside their own."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._with_forest = True
        self.foreign: list[str] = []
        self.own = 0
        self.has_trees = False
        self._has_zeros = False
        self.loaded: set[str] = set()

    def step(self, step: Any, sample: Sample, name: str) -> tuple[PipelineStep | None, Sample]:
        """Return what computes the transformer ``step``, None where it passes all on, and the rows behind it."""
        if is_passed(step):
            return None, sample
        theirs = _transformed(step, sample.theirs)
        already = len(self.foreign), self.own
        read = self._composed(step, sample)
        if read is None:
            own = known_step(step, _used(sample.places))
            if isinstance(own, Normalised) and not _is_sparse(sample.theirs):
                own = replace(own, least=_NO_NORM)
            self.own += own is not None
            # Hashed terms may cancel each other, which leaves a zero that is there.
            self._has_zeros = self._has_zeros or getattr(step, "alternate_sign", False)
            read = None if own is None else _behind(own, sample)
        if read is not None and same(theirs, read[1]):
            return read[0], replace(read[1], theirs=theirs)
        del self.foreign[already[0] :]
        self.own = already[1]
        self.foreign.append(f"{name} ({type(step).__name__})")
        result = _behind(Foreign(step, "transform", self._taken(sample)), sample)
        if result is None or not same(theirs, result[1]):
            raise CompileFailed(
                BACKEND,
                f"the step {name!r:.60} ({type(step).__name__}) gives texts, other objects, or not the same twice",
            )
        return result[0], replace(result[1], theirs=theirs)

    def last(self, estimator: Any, method: str, sample: Sample, name: str) -> PipelineStep:
        """Return what computes the predictions of ``estimator`` by its ``method``."""
        if hasattr(estimator, "steps"):
            chain, sample = self._chain(estimator.steps[:-1], sample)
            return _chained([*chain, self.last(estimator.steps[-1][1], method, sample, estimator.steps[-1][0])])
        already = len(self.foreign), self.own
        expected = predicted(estimator, method, sample.theirs)
        for with_forest in (True, False) if self._with_forest else (False,):
            joined = self._joined(estimator, method, sample, with_forest=with_forest)
            if joined is not None and _predicts(joined, sample, expected):
                return joined
            del self.foreign[already[0] :]
            self.own = already[1]
        trees = as_ensemble(estimator)
        own = self._trees(trees, method, sample) if is_ensemble(trees) else known_last(estimator, method)
        if own is not None and _predicts(own, sample, expected, are_sums=method == "predict" and is_sum(own)):
            self.own += 1
            self.has_trees = self.has_trees or is_ensemble(trees)
            return own
        if self._has_zeros and _is_sparse(sample.theirs) and _asks_xgboost(estimator):
            raise CompileFailed(
                BACKEND, "hashed terms that cancel each other are not missing for XGBoost, as others are"
            )
        self.foreign.append(f"{name} ({type(estimator).__name__})")
        second = method == "predict_proba" and has_two_classes(estimator)
        return Foreign(estimator, method, self._taken(sample), second=second)

    def _joined(self, estimator: Any, method: str, sample: Sample, *, with_forest: bool) -> PipelineStep | None:
        """Return what joins the predictions of others, which are the library's own where they are of trees and not
        ``with_forest``: forests add up in float32, which a curve may not bear."""
        before, self._with_forest = self._with_forest, with_forest
        joined = joined_last(self.last, estimator, method, sample)
        self._with_forest = before
        return joined

    def _composed(self, step: Any, sample: Sample) -> tuple[PipelineStep, Sample] | None:
        """Return what computes a step that is made of others; None for any other step."""
        if hasattr(step, "steps"):
            chain, behind = self._chain(step.steps, sample)
            return _chained(chain), behind
        weights = getattr(step, "transformer_weights", None) or {}
        if not all(weight is None or (isinstance(weight, Real) and weight != 0) for weight in weights.values()):
            return None  # a zero of a sparse matrix that is there is no missing value for XGBoost
        if hasattr(step, "transformers_"):
            return self._side_by_side(_branches_of(step, sample), weights)
        if hasattr(step, "transformer_list"):
            branches = [(name, inner, None, sample) for name, inner in step.transformer_list if not is_dropped(inner)]
            return self._side_by_side(branches, weights)
        return None

    def _chain(self, steps: Any, sample: Sample) -> tuple[list[PipelineStep | None], Sample]:
        chain: list[PipelineStep | None] = []
        for name, inner in steps:
            if is_sampler(inner):
                continue
            own, sample = self.step(inner, sample, name)
            chain.append(own)
        return chain, sample

    def _side_by_side(
        self, branches: Sequence[tuple[str, Any, Chosen | None, Sample]], weights: Mapping[str, float]
    ) -> tuple[PipelineStep, Sample] | None:
        read = [
            (chosen, *_weighted(*self.step(inner, taken, name), weights.get(name)))
            for name, inner, chosen, taken in branches
        ]
        if not read:
            return None
        joined = Branches(tuple((chosen, own) for chosen, own, _ in read))
        ours = [sample.ours for _, _, sample in read]
        places: list[ColumnAt | None] = []
        numbers = texts = 0
        for _, _, sample in read:
            width = _width(sample.ours)
            own_places = sample.places or tuple(ColumnAt(NUMBER, nth) for nth in range(width))
            places += [
                None if place is None else replace(place, nth=place.nth + (texts if place.kind == TEXT else numbers))
                for place in own_places
            ]
            numbers += width
            texts += len(sample.ours.texts) if isinstance(sample.ours, MixedTable) else 0
        has_texts = any(isinstance(entry, MixedTable) for entry in ours)
        passed = Branches(tuple((None, _Given(entry)) for entry in ours))(ours[0])
        return joined, Sample(None, passed, tuple(places) if has_texts else None)

    def _trees(self, estimator: Any, method: str, sample: Sample) -> PipelineStep | None:
        if not self._with_forest or (method == "predict" and len(getattr(estimator, "classes_", ()))):
            return None
        if method == "predict_proba" and has_several_targets(estimator):
            return None
        raw = method == "decision_function" and not hasattr(estimator, "offset_")
        zero_is_missing = type(estimator).__module__.startswith("xgboost.") and _is_sparse(sample.theirs)
        if zero_is_missing and self._has_zeros:
            return None
        try:
            preprocessor = getattr(estimator, "_preprocessor", None)
            categories = categories_of(estimator)
            if categories is not None:
                bare = booster_of_codes(estimator)
                trees = compile_trees(bare, self._workdir, zero_is_missing=False, raw=raw)
                return _chained([_codes(estimator, categories, sample), trees])
            if preprocessor is None:
                return compile_trees(estimator, self._workdir, zero_is_missing=zero_is_missing, raw=raw)
            first, _ = self.step(preprocessor, sample, "categories")
            trees = compile_trees(without_preprocessor(estimator), self._workdir, zero_is_missing=False, raw=raw)
            return _chained([first, trees])
        except (CompileFailed, UnsupportedModel):
            return None  # it stays in its library, and is named

    def _taken(self, sample: Sample) -> CallForm:
        places = _used(sample.places)
        if hasattr(sample.theirs, "columns"):
            self.loaded.add("pandas")
            return CallForm("frame", places, tuple(str(name) for name in sample.theirs.columns))
        if hasattr(sample.theirs, "to_frame"):
            self.loaded.add("pandas")
            return CallForm("series", places, (str(sample.theirs.name),))
        if _is_sparse(sample.theirs):
            self.loaded.add("scipy")
            return CallForm("sparse", places)
        is_list = isinstance(sample.theirs, list) or getattr(sample.theirs, "ndim", 2) == 1
        return CallForm("list" if is_list else "matrix", places)


@dataclass(frozen=True)
class _Given:
    """Gives what was computed already."""

    value: Value

    def __call__(self, _value: Value) -> Value:
        return self.value


def _codes(estimator: Any, categories: Categories, sample: Sample) -> PipelineStep:
    """Return the step that puts the codes of categories in the place of them, and leaves the other columns."""
    branches: list[tuple[Chosen | None, PipelineStep | None]] = []
    names, closed = names_of(estimator), refuses_others(estimator)
    for are_categories, run in groupby(range(len(categories)), key=lambda nth: categories[nth] is not None):
        positions = list(run)
        chosen, places = _choice(positions, sample.places)
        places = places or tuple(ColumnAt(NUMBER, nth) for nth in range(len(positions)))
        own = {called(names, nth): categories[nth] or () for nth in positions}
        branches.append((chosen, encoded_categories(own, places, closed=closed) if are_categories else None))
    return Branches(tuple(branches))


def _transformed(step: Any, rows: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return step.transform(rows)


_NO_NORM = 10 * np.finfo(np.float64).eps
"""scikit-learn takes a smaller norm for none, of rows that are not sparse."""


def _is_sparse(numbers: Any) -> bool:
    from scipy import sparse

    return bool(sparse.issparse(numbers))


def _asks_xgboost(estimator: Any) -> bool:
    """Return whether ``estimator`` is one of XGBoost, or has one inside."""
    inside = estimator.get_params().values() if hasattr(estimator, "get_params") else ()
    return any(type(one).__module__.startswith("xgboost.") for one in (estimator, *inside))


def _weighted(own: PipelineStep | None, sample: Sample, weight: float | None) -> tuple[PipelineStep | None, Sample]:
    """Return a branch with its outputs multiplied by ``weight``."""
    if weight is None:
        return own, sample
    weighted = Weighted(float(weight))
    return _chained([own, weighted]), replace(sample, ours=weighted(sample.ours))


def _chained(steps: Sequence[PipelineStep | None]) -> PipelineStep:
    """Return one step for ``steps``, of which None passes all on."""
    some = tuple(step for step in steps if step is not None)
    return some[0] if len(some) == 1 else Chain(some)


def _used(places: tuple[ColumnAt | None, ...] | None) -> tuple[ColumnAt, ...] | None:
    return None if places is None else tuple(place for place in places if place is not None)


def _behind(own: PipelineStep, sample: Sample) -> tuple[PipelineStep, Sample] | None:
    """Return the step and the rows behind it; None where it refuses them."""
    try:
        with np.errstate(all="ignore"):
            ours = own(sample.ours)
    except (RowsRefused, ValueError, TypeError):  # of scikit-learn, whose step gives texts
        return None
    places = None
    if isinstance(ours, MixedTable):
        kept = [place for place in sample.places or () if place is not None and place.kind == TEXT]
        if len(kept) == len(ours.texts):
            places = tuple(replace(place, nth=nth) for nth, place in enumerate(kept))
    return own, Sample(None, ours, places)


def _predicts(own: PipelineStep, sample: Sample, expected: np.ndarray, *, are_sums: bool = False) -> bool:
    """Return whether ``own`` gives the ``expected`` predictions. A sum near zero is the difference of larger parts, and
    has their roundings."""
    try:
        with np.errstate(all="ignore"):
            result = dense(own(sample.ours))
    except RowsRefused:
        return False
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    return result.shape == expected.shape and np.allclose(
        result,
        expected,
        rtol=_OF_PREDICTIONS,
        atol=_OF_PREDICTIONS * (size if are_sums else min(size, 1)),
        equal_nan=True,
    )


def _branches_of(step: Any, sample: Sample) -> list[tuple[str, Any, Chosen, Sample]]:
    """Return the branches of a ColumnTransformer that have columns: their names, steps, columns and rows."""
    names, branches = names_of(step), []
    for name, inner, chosen in step.transformers_:
        if is_dropped(inner):
            continue
        positions = positions_of(chosen, names, step.n_features_in_)
        if not positions:
            continue
        taken, places = _choice(positions, sample.places)
        alone = isinstance(chosen, str | int | np.integer)
        branches.append(
            (name, inner, taken, Sample(_taken_of(sample.theirs, positions, names, alone), taken(sample.ours), places))
        )
    return branches


def _taken_of(rows: Any, positions: list[int], names: list[str], alone: bool) -> Any:
    which = positions[0] if alone else positions
    if hasattr(rows, "iloc"):
        by_name = names if names else list(rows.columns)
        return rows[by_name[which]] if isinstance(which, int) else rows[[by_name[nth] for nth in which]]
    return rows[:, which]


def _choice(
    positions: list[int], places: tuple[ColumnAt | None, ...] | None
) -> tuple[Chosen, tuple[ColumnAt, ...] | None]:
    """Return how the columns at ``positions`` are taken of a value, and where they are then."""
    if places is None:
        return Chosen(_neighbours(positions)), None
    chosen = [place for nth in positions if (place := places[nth]) is not None]
    numbers = [place.nth for place in chosen if place.kind == NUMBER]
    texts = [place.nth for place in chosen if place.kind == TEXT]
    counts = {NUMBER: 0, TEXT: 0}
    behind = []
    for place in chosen:
        behind.append(replace(place, nth=counts[place.kind]))
        counts[place.kind] += 1
    return Chosen(_neighbours(numbers), tuple(texts)), tuple(behind)


def _neighbours(columns: list[int]) -> slice | np.ndarray:
    if not columns:
        return slice(0, 0)
    if columns == list(range(columns[0], columns[0] + len(columns))):
        return slice(columns[0], columns[0] + len(columns))
    return np.array(columns)


def _width(value: Value) -> int:
    if isinstance(value, MixedTable):
        return int(value.numbers.shape[1])
    return sum(part.width if isinstance(part, Sparse) else int(part.shape[1]) for part in parts_of(value))


def same(theirs: Any, sample: Sample) -> bool:
    """Return whether rows of scikit-learn's are ours: numbers within a few roundings of the largest value of the
    column, since sums may be added up in another order, and equal texts."""
    if isinstance(sample.ours, MixedTable) and sample.ours.texts:
        return _same_table(theirs, sample)
    width = theirs.shape[1] if len(theirs.shape) == 2 else -1
    if width != _width(sample.ours):
        return False
    rows = max(1, min(theirs.shape[0], _MAX_CELLS // max(width, 1)))
    ours = dense(sample.ours)[:rows]
    if any(hasattr(dtype, "categories") for dtype in getattr(theirs, "dtypes", ())):
        columns = zip(ours.T, theirs.dtypes, strict=True)
        ours = np.column_stack([_of_categories(numbers, dtype) for numbers, dtype in columns])
    try:
        some = theirs[:rows] if not hasattr(theirs, "iloc") else theirs.iloc[:rows].to_numpy()
        expected = np.asarray(some.toarray() if hasattr(some, "toarray") else some, dtype=np.float64)
    except (ValueError, TypeError):
        return False
    size = np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(axis=0, initial=0)
    return np.allclose(ours, expected, rtol=_ROUNDING, atol=_ROUNDING * size, equal_nan=True)


def _same_table(theirs: Any, sample: Sample) -> bool:
    ours, places = sample.ours, sample.places
    if not isinstance(ours, MixedTable) or places is None:
        return False
    rows = theirs.to_numpy(dtype=object) if hasattr(theirs, "to_numpy") else np.asarray(theirs, dtype=object)
    if rows.ndim != 2 or rows.shape[1] != len(places):
        return False
    dtypes: list[Any] = list(theirs.dtypes) if hasattr(theirs, "dtypes") else [None] * len(places)
    for column, place, dtype in zip(rows.T.tolist(), places, dtypes, strict=True):
        if place is None:
            return False
        if place.kind == TEXT:
            answers = [text.encode() if isinstance(text, str) else MISSING for text in column]
            texts = ours.texts[place.nth]
            if hasattr(dtype, "categories"):
                kept = {str(category).encode() for category in dtype.categories}
                texts = [text if text in kept else MISSING for text in texts]
            if answers != texts:
                return False
            continue
        numbers = _of_categories(ours.numbers[:, place.nth], dtype)
        if not np.array_equal(np.array(column, dtype=np.float64), numbers, equal_nan=True):
            return False
    return True


def _of_categories(numbers: np.ndarray, dtype: Any) -> np.ndarray:
    """Return ``numbers`` as a column of pandas' ``dtype`` has them: of a category, others than its own are missing."""
    if not hasattr(dtype, "categories"):
        return numbers
    result: np.ndarray = np.where(np.isin(numbers, np.asarray(dtype.categories, dtype=np.float64)), numbers, np.nan)
    return result
