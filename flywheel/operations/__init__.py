"""Operations: running a week from a terminal, and saying what state everything is in."""
