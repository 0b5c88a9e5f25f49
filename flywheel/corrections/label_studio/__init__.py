"""Label Studio as another pair of hands for pass 1: files in, files out, between a batch folder and a part of its return.

Nothing here talks to a server. Review, agreement and adjudication stay in the house: its free edition has none of them.
"""
