"""The lint: what is wrong with a benchmark before it judges anything. One file a kind of finding; `run.py` puts them together."""
