"""Which skills a workflow's items ask for, and who has them: a part of `workflow.yaml`."""

from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SkillRule(BaseModel):
    """Items that ask for a skill: those whose suspected step calls one of `tools`, or that are of one of `buckets`, or whose failure
    cluster fits one of the patterns `clusters` (as in `refund_order*`).
    """

    model_config = ConfigDict(extra="forbid")

    skill: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    tools: list[str] = []
    buckets: list[str] = []
    clusters: list[str] = []

    @model_validator(mode="after")
    def _says_when(self) -> "SkillRule":
        if not (self.tools or self.buckets or self.clusters):
            raise ValueError("name tools, buckets or clusters that ask for the skill")
        return self

    def holds(self, tools: set[str], bucket: str, cluster: str) -> bool:
        """Whether an item asks for the skill."""
        fits = any(fnmatchcase(cluster, pattern) for pattern in self.clusters)
        return bool(tools & set(self.tools)) or bucket in self.buckets or fits


class Skills(BaseModel):
    """Tags of items, and the skills of people, see docs/skills.md.

    `languages` are those to tell apart, as two letters (ISO 639-1); with fewer than two none is looked for, and an item's language is a
    skill like the others. `people` are sign-in names with what they have; without any, every item is for everybody.
    """

    model_config = ConfigDict(extra="forbid")

    languages: tuple[str, ...] = ()
    rules: list[SkillRule] = []
    people: dict[str, list[str]] = {}

    @model_validator(mode="after")
    def _languages_are_codes(self) -> "Skills":
        wrong = [code for code in self.languages if not (len(code) == 2 and code.isascii() and code.islower())]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no language code: two letters, as in en")
        return self
