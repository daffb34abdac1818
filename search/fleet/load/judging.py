"""The verdict on a load from several clients, from what became of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.evidence.cautions import cautions_of
from servefit.profiler.evidence.verdict import failures, judge, judge_rate
from servefit.search.fleet.load.clients_together import ClientProblem, problems_together
from servefit.search.fleet.load.load_result import ClientsLoadTest
from servefit.search.fleet.load.merging import merge, overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.summary import Summary
    from servefit.search.fleet.load.load_result import LoadClientResult
    from servefit.search.request.load_request import LoadRequest


def judged(
    url: str,
    request: LoadRequest,
    clients: Sequence[LoadClientResult],
    *,
    warnings: Sequence[str] = (),
    elapsed_s: float,
) -> ClientsLoadTest:
    """Return what the load amounts to. It is INVALID where a client is missing, whatever the others measured.
    ``warnings`` come before those that are found here."""
    thresholds = request.sla.thresholds
    parts = [(client.host, client.part) for client in clients if client.part is not None]
    problems = [
        ClientProblem(
            host=client.host,
            kind="lost",
            reason=client.lost,
            remedy="servefit fleet hosts shows which agents there are",
        )
        for client in clients
        if client.lost is not None
    ]
    summary = None
    if parts:
        summary = merge([part for _, part in parts], [threshold.percentile for threshold in thresholds])
        problems += problems_together(parts, thresholds, summary)
    spoilt = [problem for problem in problems if not (problem.noise and request.allow_noise)]
    verdict: Verdict = "INVALID"
    reason: str | None = spoilt[0].text if spoilt else None
    if not spoilt and summary is not None:
        verdict, reason = _verdict(summary, request)
    return ClientsLoadTest(
        url=url,
        request=request,
        clients=tuple(clients),
        summary=summary,
        overlap=overlap([part for _, part in parts]) if parts else None,
        verdict=verdict,
        reason=reason,
        problems=tuple(problems),
        warnings=(*warnings, *_warnings(clients, problems, summary)),
        elapsed_s=elapsed_s,
    )


def _verdict(summary: Summary, request: LoadRequest) -> tuple[Verdict, str | None]:
    rate_per_s, thresholds = request.sla.rate_per_s, request.sla.thresholds
    at_rate = judge_rate(rate_per_s or 0.0, capacity=summary, at_rate=summary)
    by_limits = (not thresholds and failures(summary)) or judge(thresholds, capacity=summary)
    judgement = max(at_rate, by_limits, key=lambda one: ("PASS", "UNDECIDED", "FAIL").index(one.verdict))
    return judgement.verdict, judgement.reason


def _warnings(
    clients: Sequence[LoadClientResult], problems: Sequence[ClientProblem], summary: Summary | None
) -> tuple[str, ...]:
    lines = [f"{problem.text}; {problem.remedy}" for problem in problems]
    said: dict[str, list[str]] = {}
    for client in clients:
        for line in () if client.part is None else client.part.warnings:
            said.setdefault(line, []).append(client.host)
    lines += [line if len(hosts) == len(clients) else f"{', '.join(hosts)}: {line}" for line, hosts in said.items()]
    return (*dict.fromkeys(lines), *(() if summary is None else cautions_of(summary)))
