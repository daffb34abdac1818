"""A fleet: jobs that measure on several hosts, the agents on them, and the plan of how many of which machines serve."""
