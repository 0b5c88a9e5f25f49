"""The hand-off: a batch goes to a partner as a signed folder and comes back in parts that one offline `verify` judges.

What goes here: export, keys, import. What does not: the judging itself, which is `verify/` and imports nothing of flywheel.
"""
