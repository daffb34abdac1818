"""The inspection of an archive with a trusted script: whether it imports, which functions it has, and what it lacks.
Runs in the inspection's child process."""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path

from servefit.backends.model.archive import unpack
from servefit.backends.model.formats import model_format
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.opaque import SIGNATURE
from servefit.backends.model.scripts import BESIDE, REQUIREMENTS, SCRIPT, models_beside, required_packages
from servefit.backends.model.types import Format

NOT_COMPARED = f"what {SCRIPT} answers was not compared with anything: a script is the only one that says what is right"
"""The warning about every script."""


def inspect_script(archive: Path) -> Inspection:
    """Import the script, which runs it. Raises CorruptModel, UnsupportedModel, StateError."""
    from servefit.backends.libraries.script.functions import import_functions

    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder).resolve()
        unpack(archive, unpacked)
        missing = _missing(unpacked)
        beside = models_beside(unpacked)
        import_functions(unpacked)
        warnings = [NOT_COMPARED]
        if missing:
            warnings.append(
                f"{REQUIREMENTS} names {', '.join(missing)}, which is not installed here: servefit installs nothing"
            )
        warnings += [
            f"{file.relative_to(unpacked)} {BESIDE}: without --trust-code{_consent(file)} it is measured without the "
            "script"
            for file in beside
        ]
    return Inspection(format=Format.SCRIPT, signature=SIGNATURE, warnings=tuple(warnings))


def _consent(file: Path) -> str:
    return ", and with --trust-pickle," if model_format(file).that_runs_code else ""


def _missing(folder: Path) -> list[str]:
    """Return the packages that the script's requirements.txt names and that are not installed, in any version."""
    return [name for name in required_packages(folder) if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
