"""One renderer for training and serving: a template per model family and the tokens it gives."""

from flywheel.chat.render import Renderer, RenderedStep, canonical_tools

__all__ = ["RenderedStep", "Renderer", "canonical_tools"]
