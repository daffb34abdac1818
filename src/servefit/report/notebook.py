"""The representation of a job in notebooks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from servefit.report.job_tables import recommendations_table
from servefit.report.page import shown_value
from servefit.report.sentences import headline, reasons
from servefit.report.table import readable
from servefit.showing import cut

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob

MAX_ROWS = 20
"""Maximum rows of the table, and warnings. Chosen so that a cell's output is about one screen; reports have all."""

_MAX_LETTERS = 500
"""Maximum letters of a line. Chosen: longer than every sentence of an ordinary job, and a few lines of a notebook."""

_TEMPLATE = """
<div>
{% for line in lines %}<p>{{ line | cut }}</p>
{% endfor %}
{%- if table.rows %}
<table><caption>{{ title }}</caption>
<thead><tr>{% for column in table.columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows[:most] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
{%- endif %}
{%- if table.rows | length > most %}
<p>{{ table.rows | length - most }} more are in job.recommendations.</p>
{%- endif %}
{%- if warnings %}
<details><summary>{{ warnings | length }} warnings</summary>
<ul>{% for warning in warnings[:most] %}<li>{{ warning | cut }}</li>{% endfor %}</ul></details>
{%- endif %}
</div>
"""


def notebook_html(job: RecommendationJob) -> str:
    """Return the HTML of a job in a notebook, without colours of its own: the answer, its reasons, SageMaker IR's table
    and the warnings."""
    from jinja2 import Environment

    table = recommendations_table(job)
    environment = Environment(autoescape=True, finalize=shown_value)
    environment.filters["cut"] = partial(cut, room=_MAX_LETTERS)
    page: str = environment.from_string(_TEMPLATE).render(
        lines=(*headline(job).splitlines(), *reasons(job)),
        title=table.title,
        table=readable(table),
        warnings=job.warnings,
        most=MAX_ROWS,
    )
    return page.strip()
