"""A record that cannot become a trace: why, and what its sender does so that it can."""


class Refused(Exception):
    """Raised by adapters.

    Args:
        reason_code: machine-readable, e.g. missing_messages.
        detail: what exactly was wrong; no text of the record beyond short names.
        remedy: what to do.
    """

    def __init__(self, reason_code: str, detail: str, remedy: str) -> None:
        super().__init__(f"{reason_code}: {detail}")
        self.reason_code = reason_code
        self.detail = detail
        self.remedy = remedy
