"""Flywheel: the weekly loop that turns production failures into a better small agent model."""

__version__ = "0.1.0"
