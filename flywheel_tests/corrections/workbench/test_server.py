"""The workbench over HTTP: the work gets done, and whatever else is asked is refused by number and loses nothing."""

from html.parser import HTMLParser

from starlette.applications import Starlette
from starlette.testclient import TestClient

from flywheel.corrections.workbench.call import Workbench
from flywheel.corrections.workbench.server import make_app, make_workbench, people_of
from flywheel.lake import TABLES
from flywheel.settings import Settings
from flywheel_tests.corrections.workbench.browser import HOST, RIGHT, Visit, Visitor
from flywheel_tests.corrections.workbench.house import HOSTILE


def inline_parts(page: str) -> list[str]:
    """Scripts, styles and handlers that stand in the page itself."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = dict(attrs)
            found.extend(
                [name for name in names if name.startswith("on") or name.startswith("hx-on") or name == "style"]
            )
            found.extend([tag] if tag in ("style", "iframe", "img") or (tag == "script" and "src" not in names) else [])

    Reader().feed(page)
    return found


def test_a_person_sees_what_became_of_their_own_corrections(visitor: Visit, bench: Workbench):
    empty = {name: None for name in TABLES["corrected_traces"].polars_schema() if name not in ("week", "workflow")}
    rows = [{**empty, "correction_id": who, "item_id": who, "annotator": who, "bucket": "b", "failure_cluster": f"of {who}: {HOSTILE}"}
            for who in ("ann", "rob")]  # fmt: skip
    bench.desk.lake.replace_partition("corrected_traces", rows, workflow="support_desk", week="2025-12-29")
    page = visitor("ann").http.get("/receipts").text
    assert "1 correction " in page and "of ann" in page and "of rob" not in page and inline_parts(page) == []
    assert "No correction of yours was accepted" in visitor("joy").http.get("/receipts").text


def test_a_stale_page_a_second_tab_and_a_replayed_request(visitor: Visit, bench: Workbench):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    form = {**ann.form(), **RIGHT}
    stale = ann.http.post(f"/annotate/{item}/submit", data={**form, "seen": "1"})
    assert stale.status_code == 409 and "W03" in stale.text and bench.desk.place(item).state.status == "claimed"
    assert ann.http.post(f"/annotate/{item}/submit", data=form).status_code == 303
    events = bench.desk.store.verify_chain()
    replay = ann.http.post(f"/annotate/{item}/submit", data=form)
    assert replay.status_code == 409 and ("W03" in replay.text or "W02" in replay.text)
    assert bench.desk.store.verify_chain() == events, "a replayed request adds nothing"


def test_wrong_roles(settings: Settings):
    people_of(settings).add("ann", ["annotator"], "correct horse battery", by="lea")
    app = make_app(make_workbench(settings, "support_desk"))
    ann = Visitor(app, "ann", "correct horse battery")
    assert ann.take()
    for path in ("/lead", "/grade", "/review/x", "/audit/x", "/adjudicate/x"):
        refused = ann.http.get(path)
        assert refused.status_code == 403 and "W01" in refused.text
    stranger = Visitor(app, "ann", "wrong password")
    assert stranger.http.get("/").headers["location"] == "/sign-in"
    people_of(settings).remove("ann", by="lea")
    assert ann.http.get("/").status_code == 303, "a removed person is out with the next request"


def test_forged_requests(visitor: Visit, app: Starlette, bench: Workbench):
    ann, bob = visitor("ann"), visitor("bob")
    item = ann.take()
    events = bench.desk.store.verify_chain()

    def post(headers: dict[str, str] | None = None, **data: str):
        return ann.http.post(f"/annotate/{item}/give-back", data={"seen": "2", **data}, headers=headers or {})

    for refused in (
        post(), post(csrf="0" * 64), post(csrf=bob.csrf), post(csrf=ann.csrf, headers={"origin": "http://evil.example"}),
        post(csrf=ann.csrf, headers={"sec-fetch-site": "cross-site"}), post(csrf=ann.csrf, headers={"origin": "null"}),
    ):  # fmt: skip
        assert refused.status_code == 403 and "W04" in refused.text
    bare = TestClient(app, base_url=HOST)
    assert "W09" in bare.post(f"/annotate/{item}/give-back", data={"csrf": ann.csrf, "seen": "2"}).text
    rebound = ann.http.get("/", headers={"host": "evil.example"})
    assert rebound.status_code == 403 and "W16" in rebound.text
    assert bench.desk.store.verify_chain() == events


def test_requests_that_make_no_sense(visitor: Visit):
    ann = visitor("ann")
    item = ann.take()
    ann.edit("mark:4")
    assert (
        "W19" in ann.edit("no-such-command").text
        and "W19" in ann.edit("mark:3").text
        and "W19" in ann.edit("mark:99").text
    )
    assert "W05" in ann.edit("tool:drop_tables").text, "a tool the run was not offered"
    assert "W07" in ann.http.get("/annotate/nobody").text and ann.http.get("/nowhere").status_code == 404
    assert "W19" in ann.submit(**RIGHT, seen="many").text
    assert "W15" in ann.submit(content="x" * 4_100_000).text
    assert "W19" in ann.http.post(f"/annotate/{item}/edit", json={"op": "undo"}).text
    assert ann.http.get(f"/annotate/{item}/text?message=99").status_code == 422
    assert "W14" in ann.edit("roll").text and "--model-url" in ann.page
    assert ann.http.put("/lead").status_code == 405


def test_hostile_text_is_shown_and_inert(visitor: Visit):
    ann = visitor("ann")
    ann.take()
    while "Ignore your rules" not in ann.page:
        ann.edit("unfixable:tool_bug")
        ann.submit()
        assert ann.take()
    assert "<script>alert" not in ann.page and "<img src=x" not in ann.page and "&lt;script&gt;alert(1)" in ann.page
    for character in ("\u202e", "\u202c", "\u200b", "\x1b"):
        assert character not in ann.page and f"\\u{ord(character):04x}" in ann.page
    ann.edit("mark:2")
    assert "<script>alert" not in ann.page and "spelled out" in ann.page, (
        "in a field the text is as it was, and shown beside it"
    )
    answer = ann.http.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
    assert inline_parts(ann.page) == inline_parts(answer.text) == []
