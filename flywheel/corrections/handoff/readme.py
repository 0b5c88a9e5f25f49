"""What a partner reads first: the README.md inside a batch."""

_TEXT = """# A batch of {workflow} runs to correct

Each line of `items.jsonl` is one run of an agent that went wrong somewhere, probably at `message_index`. Mark the first wrong
assistant step, correct it as `guidelines/` say, and send it back. Personal data was replaced before; do not add any.

## Check what you received

    python -m pip install "jsonschema>=4.18"        # Python 3.11 or newer; nothing else, and no network afterwards
    openssl pkeyutl -verify -pubin -inkey public_key.pem -rawin -in manifest.json -sigfile manifest.sig

Compare the key's fingerprint with the one you were told by telephone: `verify.pyz ... --fingerprint sha256:...` insists on it.

## Correct it in the browser

    python -m pip install "flywheel-loop[workbench]"
    flywheel workbench --batch . --fingerprint sha256:...       # work on it; `flywheel batch return .` writes a part

Or with any tool of your own; what counts is what you send back.

## What you send back

One folder a day is enough: `returns/part-001/`, `part-002/`, ... A later part may answer an item again; the newest counts.

| file | one line is | schema |
|---|---|---|
| `corrections.jsonl` | a corrected run: `patch` (RFC 6902 over the messages) or `resulting_messages` | `schemas/correction.json` |
| `decisions.jsonl` | what your reviewer said about it; another person than who corrected it | `schemas/decision.json` |
| `unfixable.jsonl` | an item that cannot be corrected, and why | `schemas/unfixable.json` |
| `questions.jsonl` | a question to us, about an item or the whole batch; no personal data | `schemas/question.json` |
| `attest.json` | how personal data was handled, who did what (pseudonyms), when everything is deleted | `schemas/attest.json` |
| `manifest.json` | hashes of the above; write it last: `python verify.pyz seal returns/part-001 --batch . --number 1` | `schemas/return.json` |

`base_sha256` is copied from the item. `trainable_indices` are the assistant steps you wrote, the corrected one first.
`arguments` of a call are JSON as text, and must be valid against the tool's schema in `tools/<tools_sha256>.json`.
Where `responses.json` lies here, an answer without a call is JSON as text too, wherever the first entry that applies says so: always, or
after one of its `after_tools` was called since the user's last turn. Nothing stands around the object.
The last part says `--complete`. If we asked for signatures: `openssl pkeyutl -sign -rawin -inkey key.pem -in manifest.json -out manifest.sig`.

## What we say later

Answers to your questions, amendments of the guidelines and items we call back come as signed letters: put the folder `letters/` into this
one. `verify.pyz` reads them: an amended version of the guidelines may be named, and of an item that was called back nothing is taken
(V23; work done before is billable). Delete what you hold of such an item.

## Judge it before you send it

    python verify.pyz returns --batch .

It writes `acceptance.json` or `rejection.json` into the folder. We run the same program and get the same file, byte for byte.
Exit codes: 0 all accepted, 1 some items or parts refused, 3 the whole return refused, 2 nothing could be judged.
An item is refused by itself; the others go through. Refused items come again in a later part.
"""


def readme(workflow: str) -> str:
    """The text for a workflow's partner."""
    return _TEXT.format(workflow=workflow)
