"""Figures that a result rests on: its verdict, the load and the samples behind it, and what held the workers to the
profile."""

from __future__ import annotations

from servefit.profiler.evidence.rare_disturbances import disturbance_excluded_s
from servefit.search.figures.contract import Figure

VERDICT = Figure(
    name="verdict",
    title="SLA",
    unit=None,
    digits=None,
    meaning="The verdict: PASS, FAIL, UNDECIDED or INVALID.",
    of_trial=lambda trial: trial.verdict,
)

SAMPLES = Figure(
    name="samples",
    title="samples",
    unit="requests",
    meaning="How many requests the percentiles are of.",
    of_summary=lambda summary: summary.samples,
)

LOOP = Figure(
    name="loop",
    title="loop",
    unit=None,
    digits=None,
    meaning="Who decides when requests come: open, a rate; closed, users who wait for answers.",
    of_summary=lambda summary: summary.loop,
)

DISTURBANCE_EXCLUDED = Figure(
    name="disturbance_excluded_s",
    title="sees every s",
    unit="s",
    meaning="Disturbances that come this often, once in so many seconds, would have shown with 99 % probability; rarer "
    "ones may have been missed.",
    of_trial=lambda trial: disturbance_excluded_s(trial.judged) if trial.basis == "measured" else None,
)

LEFT_OUT = Figure(
    name="left_out_s",
    title="left out, s",
    unit="s",
    meaning="For how long others used the CPUs while this was measured: no figure is of what was measured meanwhile.",
    of_trial=lambda trial: trial.left_out_s,
)

BASIS = Figure(
    name="basis",
    title="from",
    unit=None,
    digits=None,
    meaning="Where the figures come from: measured, or predicted where no CPU was left to load an endpoint from.",
    of_trial=lambda trial: trial.basis,
)

CONTAINMENT = Figure(
    name="containment",
    title="containment",
    unit=None,
    digits=None,
    meaning="What held the workers to the profile's CPUs and memory: cgroup, or uncontained.",
    of_trial=lambda trial: trial.measurement.containment,
)

STEP = Figure(
    name="step",
    title="step",
    unit=None,
    meaning="Which step of the job these figures are of.",
    of_recommendation=lambda recommendation: recommendation.step,
)
