"""The weekly page, for people who do not open Dagster."""
