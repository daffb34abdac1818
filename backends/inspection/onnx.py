"""The inspection of an ONNX model. Runs in the inspection's child process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.inspection.batches import with_batch_dependence
from servefit.backends.inspection.forest import BrokenTree, Forest, Tree, forest_of
from servefit.backends.inspection.onnx_ranges import admitted_range
from servefit.backends.inspection.onnx_refusals import refusal
from servefit.backends.inspection.onnx_trees import TESTS_OF_CATEGORIES, trees_of_onnx_ml_5
from servefit.backends.inspection.onnx_trying import with_ranges
from servefit.backends.libraries.onnx_forest import (
    ENSEMBLE,
    ENSEMBLES,
    OTHER_OPERATORS,
    is_one_ensemble,
    transform_of,
)
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.onnx_file import attributes_of, read_onnx
from servefit.backends.model.onnx_interface import interface_of
from servefit.backends.model.onnx_io import OnnxInterface, predict, refusals
from servefit.backends.model.types import Format, Output, Signature, Task, TreeStructure, row_datatype

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_REGRESSORS = (ENSEMBLE, "TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor")


def inspect_onnx(path: Path, folder: Path) -> Inspection:
    """Open an ONNX model; write its splits into ``folder`` where it is one tree ensemble on the raw columns."""
    graph = read_onnx(path)
    session = open_plainly(path)
    interface, outputs = interface_of(session)
    ensembles = [node for node in graph.graph.node if node.op_type in ENSEMBLES]
    forest = _forest(ensembles[0], interface) if len(ensembles) == 1 else None
    on_raw_columns = forest is not None and _takes_raw_columns(ensembles[0], interface)
    if forest is not None and on_raw_columns:
        forest.save_splits(folder / "splits.npz")
    operators = frozenset(node.op_type for node in graph.graph.node)
    signature = signature_of(interface, outputs, operators=operators, accepts_missing=bool(ensembles))
    if signature.integer_features:
        datatype = row_datatype(interface.inputs)
        ranges = [
            admitted_range(graph, model_input, datatype) if model_input.is_whole else None
            for model_input in interface.inputs
        ]
        signature = replace(signature, inputs=with_ranges(session, interface, ranges))
    signature = replace(signature, output_tensors=_with_sigmoids(signature.output_tensors, graph))
    peculiarities = _peculiarities(graph, signature.task, outputs)
    inspection = Inspection(
        format=Format.ONNX,
        signature=signature,
        trees=None if forest is None else _structure(ensembles[0], forest, peculiarities),
        splits_name="splits.npz" if on_raw_columns else None,
    )
    return with_batch_dependence(inspection, path, lambda rows: predict(session, interface, rows))


def signature_of(
    interface: OnnxInterface, outputs: int, *, operators: frozenset[str], accepts_missing: bool
) -> Signature:
    """Return the signature of a model that is called so and gives so many ``outputs``, as far as its ``operators``
    tell. ``accepts_missing`` says whether numbers may be missing, where none has to be whole."""
    integer_features = tuple(
        column
        for model_input in interface.inputs
        if model_input.is_whole
        for column in range(model_input.start, model_input.stop)
    )
    task = _task(interface, operators)
    return Signature(
        task=task,
        features=interface.features,
        outputs=outputs,
        feature_names=_feature_names(interface),
        accepts_missing=accepts_missing and not integer_features,
        integer_features=integer_features,
        inputs=interface.inputs,
        output_datatype=interface.output_datatype,
        sizes=interface.sizes,
        output_tensors=interface.tensors if task is Task.TENSOR else (),
        output_sizes=interface.output_sizes,
        padding=interface.padding,
    )


def open_plainly(path: Path) -> onnxruntime.InferenceSession:
    """Return a session with every graph optimisation off, as the one that predictions are held against. Raises
    CorruptModel and UnsupportedModel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except refusals() as error:
        raise refusal(path, error) from error


_MOVING = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Cast")
"""Operators that leave values as they are."""


def _with_sigmoids(tensors: tuple[Output, ...], graph: onnx.ModelProto) -> tuple[Output, ...]:
    """Return the outputs, of which those say so that come out of a sigmoid."""
    makers = {name: node for node in graph.graph.node for name in node.output}

    def is_of_sigmoid(name: str) -> bool:
        seen = 0
        while (maker := makers.get(name)) is not None and maker.op_type in _MOVING and seen < len(makers):
            name, seen = maker.input[0], seen + 1
        return maker is not None and maker.op_type == "Sigmoid"

    return tuple(replace(tensor, of_sigmoid=is_of_sigmoid(tensor.name)) for tensor in tensors)


def _task(interface: OnnxInterface, operators: frozenset[str]) -> Task:
    if interface.classifier:
        return Task.BINARY if interface.second_class_only else Task.MULTICLASS
    return Task.REGRESSION if operators & set(_REGRESSORS) else Task.TENSOR


def _feature_names(interface: OnnxInterface) -> tuple[str, ...]:
    """Return the inputs' names, where each is one column."""
    if len(interface.inputs) == 1 or any(model_input.stop - model_input.start != 1 for model_input in interface.inputs):
        return ()
    return tuple(model_input.name for model_input in interface.inputs)


def _structure(ensemble: Any, forest: Forest, peculiarities: tuple[str, ...]) -> TreeStructure:
    attributes = attributes_of(ensemble)
    modes = attributes["nodes_modes"]
    if ensemble.op_type == ENSEMBLE:
        on_categories = bool(np.isin(modes, TESTS_OF_CATEGORIES).any())
    else:
        on_categories = any(mode in (b"BRANCH_EQ", b"BRANCH_NEQ") for mode in modes)
    return TreeStructure(
        trees=forest.trees,
        nodes=forest.nodes,
        max_depth=forest.max_depth,
        objective=f"{ensemble.op_type} {transform_of(attributes)}",
        booster=ensemble.op_type,
        categorical_splits=on_categories,
        peculiarities=peculiarities,
    )


def _peculiarities(graph: onnx.ModelProto, task: Task, outputs: int) -> tuple[str, ...]:
    others = () if is_one_ensemble(graph) else (OTHER_OPERATORS,)
    return (*others, "multi_target") if task is Task.REGRESSION and outputs > 1 else others


def _takes_raw_columns(ensemble: Any, interface: OnnxInterface) -> bool:
    return list(ensemble.input) == [model_input.name for model_input in interface.inputs]


def _forest(ensemble: Any, interface: OnnxInterface) -> Forest:
    attributes = attributes_of(ensemble)
    # A transformation before the ensemble may add columns.
    is_raw = _takes_raw_columns(ensemble, interface)
    features = interface.features if is_raw else int(max(attributes["nodes_featureids"])) + 1
    trees = trees_of_onnx_ml_5 if ensemble.op_type == ENSEMBLE else _trees
    return forest_of(trees(attributes), features)


def _trees(attributes: dict[str, Any]) -> Iterator[Tree]:
    """Yield the trees of an operator for classifiers or regressors, which lists the nodes of all of them together."""
    tree_of = np.array(attributes["nodes_treeids"])
    is_leaf = np.array([mode == b"LEAF" for mode in attributes["nodes_modes"]])
    columns = {
        name: np.array(attributes[f"nodes_{name}"]) for name in ("nodeids", "featureids", "truenodeids", "falsenodeids")
    }
    values = np.array(attributes.get("nodes_values") or attributes["nodes_values_as_tensor"], dtype=np.float64)
    for index in np.unique(tree_of):
        nodes = np.flatnonzero(tree_of == index)
        inner = nodes[~is_leaf[nodes]]
        order = np.argsort(columns["nodeids"][nodes])
        ids = columns["nodeids"][nodes][order]
        wanted = np.stack([columns["truenodeids"][inner], columns["falsenodeids"][inner]], axis=1)
        positions = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
        if (ids[positions] != wanted).any():
            raise BrokenTree(f"tree {index} points to a node that it does not have")
        yield Tree(
            nodes=len(nodes),
            parents=np.searchsorted(ids, columns["nodeids"][inner]),
            children=positions,
            split_features=columns["featureids"][inner].astype(np.int64),
            thresholds=values[inner],
            category_features=np.empty(0, np.int64),
            categories=np.empty(0, np.int64),
        )
