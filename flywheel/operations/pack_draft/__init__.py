"""A workflow pack drafted from what production left behind: one file a kind of thing that is guessed, `draft.py` for the whole."""
