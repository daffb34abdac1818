"""A trained model, opened: what it is, what goes in, what comes out, and where its trees split.

``Model`` is all that the rest of servefit sees. Opening happens in a child process (``backends.inspection``), because
the native libraries crash on hostile files.
"""

from servefit.backends.model.opened import Model
from servefit.backends.model.types import Format, Input, Library, Signature, Task, TreeStructure

__all__ = ["Format", "Input", "Library", "Model", "Signature", "Task", "TreeStructure"]
