"""Evaluation: the frozen cases through a served model, scored step by step and compared in pairs."""
