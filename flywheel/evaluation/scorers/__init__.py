"""Scorers: one assistant step, or one whole episode, against what a case expects."""
