"""A model that was opened, as the rest of servefit sees it.

How one is opened is in ``loading``, which only those import who open one: workers are handed theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from servefit.backends.model.types import Constant, Format, Library, SaidShape, Signature, Task, TreeStructure
from servefit.field_types import check_type
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model.given import Given
    from servefit.backends.model.loading import OpenedFile


@shown("source", "format", "size_bytes", "digest")
class Model(Stored, frozen=True, kw_only=True):
    """An opened model.

    ``source`` is what the user named. ``file`` is what every backend reads, a copy in the state folder: the same bytes
    where the source is a plain file, otherwise normalised (unpacked from an archive, saved from a live object,
    cut to the iteration that the file itself calls best, upgraded from a retired format). ``digest`` is the SHA-256 of
    ``file``. ``splits`` is an NPZ file of split thresholds and categories per feature, which ``payload.rows`` reads;
    it and ``trees`` are None for models without trees. ``converted`` is the ONNX file that a module of PyTorch
    became, with its SHA-256 in its name. ``batch_dependent`` says that a row's prediction depends on the other rows of
    the call, which its own library showed: requests are not joined unless the user allows it. ``ends_in_trees`` says
    that it is a pipeline of scikit-learn whose last step is a tree ensemble, and ``ends_in_sum`` that it predicts the
    sum of its leaves, and not, say, its exponential. ``constants`` are the inputs of which the
    user said what they are in all requests, which are in ``file`` and no inputs any more. ``shapes`` are what inputs of
    TorchScript take, as the user said or a payload showed; they are in ``file`` too.

    Example:
        ::

            model = sf.Model.load("model.ubj")
            print(model.format, model.signature)
    """

    source: str
    file: Path
    format: Format
    digest: str
    size_bytes: int
    signature: Signature
    trees: TreeStructure | None = None
    splits: Path | None = None
    converted: Path | None = None
    warnings: tuple[str, ...] = ()
    batch_dependent: bool = False
    ends_in_trees: bool = False
    ends_in_sum: bool = False
    constants: tuple[Constant, ...] = ()
    shapes: tuple[SaidShape, ...] = ()

    @property
    def library(self) -> Library:
        return self.format.library

    @property
    def onnx_file(self) -> Path | None:
        """The file to read for those that read the graph of an ONNX model: the model itself, or what it was converted
        to."""
        return self.file if self.format is Format.ONNX else self.converted

    @property
    def lacks_inputs(self) -> bool:
        """True if it was described by an earlier servefit: one that did not know what the inputs and the outputs of a
        network are, or took the numbers of every other model for float32."""
        signature = self.signature
        if self.library is Library.ONNX:
            return not signature.inputs or (signature.task is Task.TENSOR and not signature.output_tensors)
        if self.library is Library.SKLEARN:
            of_float32 = any(one.datatype == "float32" for one in signature.inputs)
            rounds = self.trees is not None and not self.trees.booster.startswith("HistGradientBoosting")
            return of_float32 or (signature.row_datatype == "float32" and not signature.inputs and not rounds)
        return self.library is Library.LIGHTGBM and signature.row_datatype == "float32"

    @property
    def given(self) -> Given:
        """The user's statements on its inputs, which make ``file`` of what ``source`` holds."""
        from servefit.backends.model.given import Given
        from servefit.backends.model.input_shapes import input_shapes

        padding = self.signature.padding
        return Given(
            {constant.name: constant.value for constant in self.constants},
            None if padding is None else padding.said,
            input_shapes({said.name: said.shape for said in self.shapes}),
        )

    @property
    def is_called_singly(self) -> bool:
        """True if a call takes one request, so that there is nothing in joining some."""
        return self.signature.opaque

    @property
    def reference(self) -> str:
        """The name of the backend whose predictions define this model's."""
        return "onnxruntime" if self.library is Library.ONNX else self.library.value

    @classmethod
    def load(
        cls,
        source: Any,
        *,
        trust_pickle: bool = False,
        trust_code: bool = False,
        inputs: Mapping[str, float | str] | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
        pad: str | None = None,
        sample: Any = None,
    ) -> Self:
        """Open a file, a folder, a ``.tar.gz``, or a live xgboost, LightGBM or scikit-learn object.

        Args:
            source: What to open.
            trust_pickle: Whether a pickle or a module of PyTorch may be opened, which runs code.
            trust_code: Whether the script of an archive or a folder may be run, which is ``code/inference.py``; it then
                is the model. Without, it is left out, and the model file beside it is opened.
            inputs: Values of inputs of an ONNX model, or one of PyTorch, that are the same in all requests, by name: a
                number, or "zeros". For TorchScript, the datatypes and shapes of its inputs, such as
                "float32[rows,3,224,224]". They become part of the model.
            sizes: The sizes of the requests that are drawn where there is no payload, by the names that the model has
                for sizes that are each request's own.
            pad: The input of an ONNX model, or one of PyTorch, that says which places of a request count, such as
                "attention_mask"; or "zeros" if the model has none and padding changes nothing that it predicts, which
                is checked. Requests of different sizes then go into one call of the model, with zeros up to the longest
                of them. It becomes part of the model.
            sample: A payload. Where a module of TorchScript is opened without the shapes of its inputs, they are taken
                from the arrays in it: of an NPZ or NPY file, a ``.tar.gz`` of these, or in memory.

        Raises CorruptModel, UnsupportedModel, UntrustedModel, BackendUnavailable (the model's library is missing),
        SpecError for other inputs or sizes than the model has, for a mask that does not do, and for consent that is
        neither True nor False, StateError.

        Example:
            ::

                sf.Model.load("vad.onnx", inputs={"sr": 16000, "state": "zeros"}, sizes={"samples": [512]})
        """
        from servefit.backends.model.given import Given
        from servefit.backends.model.loading import load_source

        given = Given.checked(inputs, pad)
        check_type("sizes", sizes, Mapping[str, object] | None)
        constants = tuple(Constant(name=name, value=value) for name, value in given.constants.items())
        opened_file = load_source(source, trust_pickle=trust_pickle, trust_code=trust_code, given=given, sample=sample)
        opened = replace(cls.of(opened_file), constants=constants)
        return replace(opened, signature=opened.signature.drawn_with(sizes)) if sizes else opened

    @classmethod
    def of(cls, opened: OpenedFile) -> Self:
        """Return the model in a file that was opened."""
        from servefit.backends.model.keeping import digest_in_name
        from servefit.backends.model.torch_archive import said_in

        inspection, folder = opened.inspection, opened.folder
        file = opened.kept.file if inspection.file_name is None else folder / inspection.file_name
        shapes = said_in(opened.kept.file).shapes if inspection.format is Format.TORCHSCRIPT else {}
        return cls(
            source=opened.source,
            file=file,
            format=inspection.format,
            digest=digest_in_name(file) or opened.kept.digest,
            size_bytes=file.stat().st_size,
            signature=inspection.signature,
            trees=inspection.trees,
            splits=None if inspection.splits_name is None else folder / inspection.splits_name,
            converted=None if inspection.converted_name is None else folder / inspection.converted_name,
            warnings=(*opened.warnings, *inspection.warnings),
            batch_dependent=inspection.batch_dependent,
            ends_in_trees=inspection.ends_in_trees,
            ends_in_sum=inspection.ends_in_sum,
            shapes=tuple(SaidShape(name=name, shape=str(shape)) for name, shape in shapes.items()),
        )
