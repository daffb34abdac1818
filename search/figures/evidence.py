"""Figures that a result rests on: its verdict, the load and the samples behind it, and what held the workers to the
profile."""

from __future__ import annotations

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
