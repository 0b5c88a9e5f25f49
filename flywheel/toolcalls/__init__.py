"""Tool calls: canonical arguments and the check against a tool's JSON Schema."""
