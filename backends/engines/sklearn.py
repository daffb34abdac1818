"""scikit-learn estimators served by scikit-learn itself: the reference for them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.model.types import Library, Task
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import RowsRefused

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model import Model


class SklearnBackend:
    """Serves scikit-learn estimators of every kind."""

    name = "sklearn"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("scikit-learn runs on the CPU only")
        return installed("sklearn", "scikit-learn", remedy="pip install 'servefit[sklearn]'")

    def supports(self, model: Model) -> Availability:
        if model.library is Library.SKLEARN:
            return Availability.yes()
        return Availability.no(f"it serves scikit-learn models, and this is one of {model.library}")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        """Return threads where the estimator uses them: forests (joblib) and histogram gradient boosting (OpenMP)."""
        name = "" if model.trees is None else model.trees.booster
        if name.startswith(("RandomForest", "ExtraTrees", "HistGradientBoosting", "IsolationForest")):
            return (Knob(name="threads", values=thread_counts(vcpus)),)
        return ()

    def compile_estimate_s(self, model: Model) -> float:
        return 0.1 + model.size_bytes / 1e9

    def cache_key(self) -> str:
        return "2"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        shutil.copyfile(model.file, workdir / "model.pkl")
        return {"task": model.signature.task.value, "in_frames": _takes_frames(model)}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _Predictor(artifact.folder / "model.pkl", Task(artifact.facts["task"]), settings.threads)


def _takes_frames(model: Model) -> bool:
    """Return whether it is called with data frames of pandas, which its pickle does not name."""
    from servefit.backends.libraries.trees import unpickled
    from servefit.backends.model.sklearn_frames import frame_of

    frame = None if model.trees is not None else frame_of(unpickled(model))
    return frame is not None and frame.form == "frame"


class _Predictor:
    """Calls the estimator with every thread pool that it may use set to one size."""

    def __init__(self, model: Path, task: Task, threads: int) -> None:
        import pickle

        from threadpoolctl import threadpool_limits

        from servefit.backends.model import sklearn_io
        from servefit.backends.model.sklearn_frames import frame_of

        # The pickle was trusted when the model was opened, and only what was opened becomes an artifact.
        self._estimator = pickle.loads(model.read_bytes())
        sklearn_io.set_jobs(self._estimator, threads)
        self._limits = threadpool_limits(limits=threads)
        self._predict, self._task = sklearn_io.predict, task
        self._frame = frame_of(self._estimator)
        self._refused = sklearn_io.ROWS_REFUSED

    def predict(self, rows: np.ndarray) -> np.ndarray:
        try:
            return self._predict(self._estimator, self._task, rows, self._frame)
        except self._refused as error:  # a category that it does not know, mostly
            raise RowsRefused("sklearn", (str(error).splitlines() or [type(error).__name__])[0][:300]) from error

    def close(self) -> None:
        self._limits.restore_original_limits()
