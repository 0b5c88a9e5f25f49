"""What a pack's files say only because `flywheel init --from` guessed it, until a person has answered.

`guesses.json` lies in the pack, one entry a guess. A guess *in force* stands in its file already and errs on the safe side (a tool is
taken to write, a field to be personal); a *proposal* changes nothing until it is confirmed, and is then written into its file.
Whoever edits the file has answered too: a guess whose place says something else by now is settled.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from flywheel.errors import FlywheelError
from flywheel.toolcalls.arguments import sha256_of

FILE = "guesses.json"
State = Literal["unconfirmed", "proposed", "confirmed", "declined", "changed"]


@dataclass(frozen=True)
class Guess:
    """One guess.

    Attributes:
        id: what a person types, e.g. cancel_reservation.x-access.
        file: the pack's file concerned.
        place: keys that lead to the value in it; for tools.json a tool's name first. Empty: the whole file.
        value: the guessed value; of a whole file or a schema its hash.
        in_force: whether it stands in the file, or only waits here.
        because: the evidence in one sentence, with its counts.
        answer, answered_by, answered_at: what a person said; None before.
    """

    id: str
    file: Literal["tools.json", "system.md", "workflow.yaml", "guidelines.md"]
    place: tuple[str, ...]
    value: Any
    in_force: bool
    because: str
    answer: Literal["confirmed", "declined"] | None = None
    answered_by: str | None = None
    answered_at: str | None = None


def write_guesses(folder: Path, guesses: list[Guess]) -> None:
    """Keep a pack's guesses."""
    text = json.dumps([asdict(guess) for guess in guesses], indent=1, ensure_ascii=False)
    partial = folder / f"{FILE}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / FILE)


def read_guesses(folder: Path) -> list[Guess]:
    """A pack's guesses; none where nothing was guessed. Raises FlywheelError for a file that is no list of guesses."""
    file = folder / FILE
    if not file.is_file():
        return []
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Guess])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise FlywheelError(f"guesses.json cannot be read: {error}", where=str(file),
                            remedy="mend it, or delete it once a person has checked the whole pack") from None  # fmt: skip


def digest_of(value: Any) -> Any:
    """What a guess keeps of a value: itself where it is short text, else its hash; of a schema without what has guesses of its own."""
    return value if isinstance(value, str | bool | int | float) and len(str(value)) < 200 else sha256_of(_bare(value))


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if not key.startswith("x-") and key != "enum"}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def states(folder: Path) -> list[tuple[Guess, State]]:
    """Every guess of a pack with where it stands now."""
    guesses = read_guesses(folder)
    if not guesses:
        return []
    files = {name: _content(folder / name) for name in {guess.file for guess in guesses}}
    return [(guess, _state(guess, files[guess.file])) for guess in guesses]


def open_guesses(folder: Path) -> list[Guess]:
    """Guesses that wait for a person: those in force first."""
    waiting = [guess for guess, state in states(folder) if state in ("unconfirmed", "proposed")]
    return sorted(waiting, key=lambda guess: not guess.in_force)


def unconfirmed_reads(folder: Path) -> frozenset[str]:
    """Tools that are read-only by a guess alone: whoever must be careful takes them to write."""
    return frozenset(
        guess.place[0]
        for guess, state in states(folder)
        if state == "unconfirmed" and guess.place[-1:] == ("x-access",) and guess.value == "read_only"
    )


def _content(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            return {tool["function"]["name"]: tool for tool in json.loads(text)}
        if file.suffix == ".yaml":
            import yaml

            return yaml.safe_load(text)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # a broken pack is the loader's to report
    return text


def _state(guess: Guess, content: Any) -> State:
    if guess.answer:
        return guess.answer
    found = content
    for key in guess.place:
        found = found.get(key) if isinstance(found, dict) else None
    if guess.in_force:
        return "unconfirmed" if digest_of(found) == guess.value else "changed"
    return "proposed" if found is None or guess.file == "guidelines.md" else "changed"


def answer(folder: Path, ids: list[str], *, by: str, confirm: bool) -> list[Guess]:
    """Record a person's answer to open guesses (all of them where `ids` is empty); returns those answered.

    A confirmed proposal is written into its file. Raises FlywheelError for an id that is not open, and for declining what is in
    force: there the file itself is to be corrected.
    """
    waiting = {guess.id: guess for guess in open_guesses(folder)}
    unknown = [name for name in ids if name not in waiting]
    if unknown:
        raise FlywheelError(f"no open guess is called {', '.join(unknown)}", where=str(folder / FILE),
                            remedy=f"flywheel pack check {folder.name} lists them")  # fmt: skip
    chosen = [waiting[name] for name in ids] if ids else list(waiting.values())
    standing = [guess.id for guess in chosen if guess.in_force]
    if standing and not confirm:
        raise FlywheelError(f"{', '.join(standing)} stands in its file already", where=str(folder),
                            remedy="correct it there: a changed value counts as answered")  # fmt: skip
    if confirm:
        for guess in chosen:
            if not guess.in_force:
                _write(folder, guess)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = {guess.id: replace(guess, answer="confirmed" if confirm else "declined", answered_by=by, answered_at=now) for guess in chosen}  # fmt: skip
    write_guesses(folder, [said.get(guess.id, guess) for guess in read_guesses(folder)])
    return list(said.values())


def _write(folder: Path, guess: Guess) -> None:
    """Put a confirmed proposal into its file."""
    file = folder / guess.file
    if guess.file == "guidelines.md":
        file.write_text(file.read_text(encoding="utf-8").rstrip("\n") + f"\n\n{guess.value}\n", encoding="utf-8")
        return
    tools = json.loads(file.read_text(encoding="utf-8"))
    target = next((tool for tool in tools if tool["function"]["name"] == guess.place[0]), None)
    for key in guess.place[1:-1]:
        target = target.get(key) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        raise FlywheelError(f"the place of {guess.id} is gone", where=str(file),
                            remedy=f"flywheel pack decline {folder.name} {guess.id}")  # fmt: skip
    target[guess.place[-1]] = guess.value
    file.write_text(json.dumps(tools, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
