"""Which calls are valid, and why the others are not."""

import pytest

from flywheel.toolcalls.schema_check import check_call, schema_problem
from flywheel.workflows.pack import Pack


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("get_order", '{"order_id": "A1"}', None),
        ("get_order", '{"order_id": 1}', "wrong_type"),
        ("get_order", "{}", "missing_required"),
        ("get_order", '{"order_id": "A1", "extra": 1}', "unexpected_argument"),
        ("get_order", '{"order_id": ', "invalid_json"),
        ("get_order", "[]", "not_an_object"),
        ("get_weather", "{}", "unknown_tool"),
        ("cancel_order", '{"order_id": "A1", "reason": "rain"}', "not_in_enum"),
        ("update_address", '{"order_id": "A1", "address": {"street": "x", "city": "y"}}', "missing_required"),
    ],
)
def test_each_kind_of_error_is_named(pack: Pack, name: str, arguments: str, kind: str | None):
    errors = check_call(pack.tools, name, arguments)
    assert [error.kind for error in errors] == ([kind] if kind else [])


def test_remote_references_and_broken_schemas_are_problems():
    assert schema_problem({"type": "object", "properties": {"a": {"$ref": "http://example.org/x"}}})
    assert schema_problem({"type": "object", "properties": {"a": {"type": "text"}}})
    assert schema_problem({"type": "array"})
    assert schema_problem({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}}) is None
