"""Four doors, open or closed; overrides name the jammed ones."""

import json
from typing import Any


class Doors:
    """The doors and the two tools that move them."""

    def __init__(self, jammed: list[str]) -> None:
        self.doors = dict.fromkeys(("red", "green", "blue", "gold"), "untouched")
        self.jammed = jammed

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Move one door."""
        door = arguments.get("door")
        if name not in ("open_door", "close_door") or door not in self.doors:
            return json.dumps({"error": "UNKNOWN"})
        if door in self.jammed:
            return json.dumps({"error": "JAMMED"})
        self.doors[door] = "open" if name == "open_door" else "closed"
        return json.dumps({"door": door, "state": self.doors[door]})

    def state(self) -> dict[str, Any]:
        """Door -> untouched, open or closed."""
        return dict(self.doors)


def make_environment(seed: int, overrides: dict[str, Any] | None = None) -> Doors:
    """Fresh doors; the seed changes nothing."""
    del seed
    return Doors((overrides or {}).get("jammed", []))
