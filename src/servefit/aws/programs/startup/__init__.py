"""The folder that Pythons of programs look into before all others: it has ``sitecustomize`` and nothing else."""
