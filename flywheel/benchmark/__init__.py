"""The benchmark: frozen cases, how their answers are matched, and the registry that keeps them out of training."""
