"""Answers held against their orders before they count: by ``answers`` whatever was asked for, by ``loads`` a test under
load, whose verdict is worked out again from its samples, and by ``rates`` what a host can have answered at all.

An answer may be forged. One that does not fit raises Unfit, and no figure of it is used.
"""
