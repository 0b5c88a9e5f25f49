"""Failures: what went wrong in production, at which step, whose fault it was, and what is handed to people."""
