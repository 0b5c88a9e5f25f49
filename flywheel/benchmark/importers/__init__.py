"""Importers: cases from public benchmarks and plain files. One file a format; `run.py` reads, accounts and writes. Nothing is evaluated."""
