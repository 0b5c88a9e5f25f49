"""Text from traces on its way to a page; the words live in `flywheel.chat.visible`, which corrections use too."""

from flywheel.chat.visible import visible

__all__ = ["visible"]
