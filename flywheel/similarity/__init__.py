"""Similarity: exact and near-duplicate texts."""
