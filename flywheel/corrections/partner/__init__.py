"""The partner's bench: the workbench on one exported batch, on a machine with nothing else of ours (extra `workbench`).

What goes here: opening the batch, its desk, what is handed back, and the pages that only a partner has. What does not: how a
correction is made and reviewed, which are the workbench's own pages, and the judge, which is `handoff/verify`. Nothing here imports
the lake, Dagster or a model; a test in a fresh process says so.
"""
