"""Week zero: demonstrations for a first checkpoint, planned, taken, looked at by a second person, and counted."""
