"""Two models on one host: whether they fit side by side, what they cost each other under load, and the plan of a fleet
on which those that hold their SLAs together may share hosts."""
