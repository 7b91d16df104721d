"""Tests of the jail; `jailer.py` runs programs in one, `attempts_*.py` hold what they try."""
