"""The numbered reasons for which the workbench refuses a request: one table, quoted on the page and in the tests.

A refusal loses nothing: drafts stay, and each rule says what to do next.
"""

from typing import NamedTuple

from flywheel.errors import FlywheelError


class Rule(NamedTuple):
    """One reason: HTTP status, a sentence, and what the person does now."""

    status: int
    says: str
    remedy: str


RULES: dict[str, Rule] = {
    "W01": Rule(403, "your roles do not allow this", "ask whoever runs the workbench for the role"),
    "W02": Rule(409, "your lease on the item has run out", "open the item again; your draft is kept"),
    "W03": Rule(409, "the item has moved on since this page was opened",
                "open it again to see what happened; your draft is kept"),
    "W04": Rule(403, "the request did not come from a page of this workbench", "reload the page and do it again"),
    "W05": Rule(422, "the correction is not valid yet", "mend what the form marks; the draft is kept"),
    "W06": Rule(409, "one person has one role on an item", "leave it to somebody else and take the next one"),
    "W07": Rule(404, "there is no such item in this batch", "go back to the queue"),
    "W08": Rule(409, "the batch is closed", "your draft is kept; this work belongs to the next batch"),
    "W09": Rule(401, "you are not signed in", "sign in; your draft is kept"),
    "W10": Rule(401, "name and password do not match", "try again, or ask whoever runs the workbench to set a new password"),
    "W11": Rule(429, "too many attempts to sign in", "wait a minute"),
    "W12": Rule(422, "a reason is needed", "say in one sentence why"),
    "W13": Rule(409, "the tool cannot be run again here", "correct the step without its result"),
    "W14": Rule(409, "the model cannot be asked", "write the next step by hand, or submit as it is"),
    "W15": Rule(413, "the request is too large", "shorten what was pasted"),
    "W16": Rule(403, "this host is not served", "open the workbench at the address it printed"),
    "W17": Rule(409, "the lot is not closed yet", "wait until every item of the batch is decided"),
    "W18": Rule(409, "the store refused it", "see the sentence above; nothing was written"),
    "W19": Rule(422, "the request makes no sense here", "reload the page"),
}  # fmt: skip


class Refusal(FlywheelError):
    """A refused request.

    Args:
        code: key of `RULES`.
        detail: what exactly, where the rule's own sentence does not say it.
    """

    def __init__(self, code: str, detail: str = "", *, where: str = "", remedy: str = "") -> None:
        rule = RULES[code]
        self.code, self.status, self.says, self.detail = code, rule.status, rule.says, detail
        self.said = rule.says + (f": {detail}" if detail else "")
        super().__init__(f"{code}: {self.said}", where=where, remedy=remedy or rule.remedy)
