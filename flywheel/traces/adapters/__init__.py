"""Adapters: one module an input format, each turning a parsed line into a `Trace` or a reason why not."""
