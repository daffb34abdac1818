"""The first module that a Python runs whose PYTHONPATH has this folder: botocore is kept from the one address that the
SageMaker SDK writes down itself, that of STS, so that ``get_execution_role()`` asks AWS_ENDPOINT_URL too.

Such a Python need not have servefit, and may be of any version from 3.6 on. So this module imports nothing that Python
has not imported by then, not even ``typing``. The ``sitecustomize`` that would have been found without it is run too.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "sitecustomize"
CHANGED = "botocore.session"


def is_written_down(url: object) -> bool:
    """Return whether a URL is that of STS in a region, as the SDK has it."""
    if not isinstance(url, str) or not url.startswith("https://sts."):
        return False
    region, dot, rest = url[len("https://sts.") :].partition(".")
    is_region = region.replace("-", "").isalnum()
    return is_region and dot + rest in (".amazonaws.com", ".amazonaws.com.cn")


class AfterImport:
    """Finds botocore's module of sessions as others would have, and changes it once it has been imported."""

    def __init__(self) -> None:
        self._is_finding = False

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name != CHANGED or self._is_finding:
            return None
        self._is_finding = True  # others may look as this does, and so come here
        try:
            spec = _found(name, path, target, but=self)
        finally:
            self._is_finding = False
        if spec is not None and hasattr(spec.loader, "exec_module"):
            _change_after(spec.loader)
        return spec


def _found(name: str, path: "Any", target: "Any", *, but: object) -> "Any":
    for finder in list(sys.meta_path):
        find_spec = getattr(finder, "find_spec", None)
        if finder is not but and find_spec is not None:
            spec = find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


def _change_after(loader: "Any") -> None:
    execute = loader.exec_module

    def exec_module(module: "Any") -> None:
        execute(module)
        ask_the_endpoint(module.Session)

    loader.exec_module = exec_module


def ask_the_endpoint(session: "Any") -> None:
    """Have sessions of a class make clients of STS for AWS_ENDPOINT_URL, where they are told the written address."""
    create = session.create_client

    def create_client(self: "Any", service_name: str, *arguments: "Any", **options: "Any") -> "Any":
        is_meant = service_name == "sts" and is_written_down(options.get("endpoint_url"))
        if is_meant and os.environ.get("AWS_ENDPOINT_URL"):
            options["endpoint_url"] = None
        return create(self, service_name, *arguments, **options)

    create_client.__doc__ = create.__doc__
    session.create_client = create_client


def _run_next() -> None:
    """Run the sitecustomize that would have been found without this one. It becomes the module of that name."""
    here = __file__.rpartition(os.sep)[0]
    sys.path[:] = [folder for folder in sys.path if folder != here]
    own = sys.modules.pop(NAME)
    try:
        __import__(NAME)
    except ImportError as error:
        if error.name != NAME:
            raise
    finally:
        sys.modules.setdefault(NAME, own)


if __name__ == NAME:
    sys.meta_path.insert(0, AfterImport())
    _run_next()
