"""The one exception a user should ever meet: what happened, where, and what to do about it."""


class FlywheelError(Exception):
    """A failure a person can cause, and can therefore mend.

    Args:
        what: what happened, one sentence.
        where: the file and line, table and partition, or process concerned; empty where there is none.
        remedy: what to do now: a command to type or a thing to change.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        place = f" [{where}]" if where else ""
        super().__init__(f"{what}{place}\n  -> {remedy}")


class MissingPartition(FlywheelError):
    """A stage asked for a partition that no earlier stage has written."""
