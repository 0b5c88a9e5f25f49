"""A year of weeks for three workflows through the real daemon: `make year`. Children and people are stand-ins, the rest is real."""
