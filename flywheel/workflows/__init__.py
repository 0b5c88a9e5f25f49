"""Workflow packs: what a team brings so that the loop can turn for its agent."""
