"""The offline judge of a returned batch: standard library and `jsonschema` only, the same code on both sides of a hand-off.

What goes here: everything `verify.pyz` needs. It imports nothing else of flywheel, so that a partner can run it with a bare
Python 3.11; a test runs it that way.
"""

VERSION = "1"
BATCH_SCHEMA = "batch/1"
ITEM_SCHEMA = "item/1"
RETURN_SCHEMA = "return/1"
CORRECTION_SCHEMA = "correction/1"
DECISION_SCHEMA = "decision/1"
UNFIXABLE_SCHEMA = "unfixable/1"
QUESTION_SCHEMA = "question/1"
ATTEST_SCHEMA = "attest/1"
VERDICT_SCHEMA = "verdict/1"
