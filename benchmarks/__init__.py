"""Measures the runner beside ipykernel and beside floors: `python -m benchmarks --help`.

A floor does the least that any runner has to do for the same job.  Contenders take turns, round
by round, because a busy or sleepy machine changes all of them alike: read the ratios.
"""
