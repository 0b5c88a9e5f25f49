"""One renderer for training and serving: a template per model family and the tokens it gives."""

from flywheel.chat.render import RenderedStep, Renderer, canonical_tools

__all__ = ["RenderedStep", "Renderer", "canonical_tools"]
