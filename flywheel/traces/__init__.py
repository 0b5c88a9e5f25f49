"""Traces: what production wrote becomes one canonical table, every input line accounted for."""
