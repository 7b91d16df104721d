"""Faults come in, many times and at random moments; how often each was survived goes out."""
