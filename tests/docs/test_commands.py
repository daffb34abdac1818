"""Every command and program of the documentation is run, in the order of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.docs.pages import Block, blocks, pages

if TYPE_CHECKING:
    from tests.docs.conftest import ReaderOf

pytestmark = pytest.mark.integration

SAYS: dict[str, tuple[str, ...]] = {
    "README.md": ("met: deploy",),
    "docs/tutorial.md": ("met: deploy", "is served at", "predictions"),
}
"""What some block of a page has to say: what the page shows of its output."""

ON_TWO_CPUS = (
    "README.md", "docs/api.md", "docs/fleet.md", "docs/moving/model-analyzer.md", "docs/moving/olive.md",
    "docs/moving/sagemaker.md", "docs/tutorial.md",
)  # fmt: skip
"""Pages that name an instance of two CPUs, whose Python measures endpoints, or whose job has ten seconds for a verdict,
and so want them for themselves. They are thorough, as the other pages that measure are; ``test_blocks.py`` has the
command line read all commands daily."""

MEASURING = ("servefit recommend", ".recommend(", "servefit profile", "servefit load", "servefit host\n")
"""What takes seconds in blocks."""

LONG = ("docs/reading.md", "docs/report.md", "docs/searching.md")
"""Pages whose blocks take seconds otherwise: what they say is tested one by one, too."""

RUN = {page: [block for block in blocks(page) if block.language in ("bash", "python")] for page in pages()}


def _is_run_elsewhere(page: str, of_page: list[Block]) -> bool:
    """Whether an earlier page has every block of this one, word for word."""
    earlier = {block.text for name, found in RUN.items() if name < page for block in found}
    return all(block.text in earlier for block in of_page)


def marks_of(page: str) -> list[pytest.MarkDecorator]:
    if page in ON_TWO_CPUS:
        return [pytest.mark.timed, pytest.mark.thorough]
    measures = page in LONG or any(command in block.text for block in RUN[page] for command in MEASURING)
    return [pytest.mark.thorough if measures else pytest.mark.integration]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=marks_of(page)) for page, found in RUN.items() if not _is_run_elsewhere(page, found)],
)
def test_what_a_page_says_to_run_runs(page: str, reader_of: ReaderOf) -> None:
    reader = reader_of(page)
    for block in RUN[page]:
        reader.do(block)
    for phrase in SAYS.get(page, ()):
        assert phrase in reader.said
