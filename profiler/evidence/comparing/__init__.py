"""Whether one thing is faster than another, or only seemed to be: paired comparison in randomised ABBA blocks.

``comparison`` carries it out, ``intervals`` holds the statistics, and ``noise_floor`` says what this host can tell
apart, with ``kernel`` as the work that it times.
"""
