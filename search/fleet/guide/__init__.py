"""Guides the searches of the classes of a fleet: which is tested next, at which rate each is confirmed, and which of
its hosts are tested too, all by what it can change in the plan.

``fleet_guide`` knows what all classes may carry (``rate_range``) and what plans that makes (``plan_costs``);
``class_guide`` stands between it and the search of one class, and ``spot_checks`` tells hosts that are not like their
class. The plan that a job answers with is in ``fleet.plan``.
"""
