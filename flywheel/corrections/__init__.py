"""Corrections: people repair what went wrong, three passes, three people, one append-only log of events."""
