"""vLLM as a context manager, its client, and the checks that the right model is being served."""
