"""The QA store's tables, and what the database itself refuses whatever the code above it does; for SQLite and PostgreSQL.

Refused: a change of an event (except the blanking of its payload by an erasure), a deletion, a fork of the chain, a second role
of one person on one item, a role taken without being recorded, a barred person, an audit of an item that no closed lot drew.
"""

ERASED = '{"erased": true}'
# Kinds that give nobody a role on the item; all others must stand beside a row of `roles`.
NO_ROLE = (
    "open", "export", "close", "close_lot", "reopen_lot", "plant", "check", "reopen", "release", "withdraw", "report_privacy",
)  # fmt: skip
SCHEMA_VERSION = 2

_TABLES = f"""
CREATE TABLE IF NOT EXISTS roles (
    item_id TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (item_id, actor), UNIQUE (item_id, actor, role));
CREATE TABLE IF NOT EXISTS bars (
    item_id TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (item_id, actor, role));
CREATE TABLE IF NOT EXISTS members (
    batch TEXT NOT NULL, item_id TEXT NOT NULL, place FLOAT NOT NULL, kind TEXT NOT NULL, source TEXT, PRIMARY KEY (batch, item_id));
CREATE INDEX IF NOT EXISTS members_by_source ON members (source) WHERE source IS NOT NULL;
CREATE TABLE IF NOT EXISTS drawn (batch TEXT NOT NULL, item_id TEXT NOT NULL, PRIMARY KEY (batch, item_id));
CREATE TABLE IF NOT EXISTS salts (batch TEXT NOT NULL, attempt INTEGER NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (batch, attempt));
CREATE TABLE IF NOT EXISTS drafts (
    batch TEXT NOT NULL, item_id TEXT NOT NULL, actor TEXT NOT NULL, payload TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (batch, item_id, actor));
CREATE TABLE IF NOT EXISTS events (
    sequence BIGINT NOT NULL PRIMARY KEY, workflow TEXT NOT NULL, batch TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL,
    actor TEXT NOT NULL, role TEXT, payload TEXT NOT NULL, payload_sha256 TEXT NOT NULL, at TEXT NOT NULL,
    previous_hash TEXT NOT NULL UNIQUE, hash TEXT NOT NULL UNIQUE,
    FOREIGN KEY (item_id, actor, role) REFERENCES roles (item_id, actor, role),
    CHECK (role IS NOT NULL OR kind IN ({", ".join(f"'{kind}'" for kind in NO_ROLE)})));
CREATE INDEX IF NOT EXISTS events_by_item ON events (batch, item_id, sequence);
CREATE INDEX IF NOT EXISTS events_of_an_item ON events (item_id);
CREATE INDEX IF NOT EXISTS events_of_batches ON events (workflow, sequence) WHERE item_id = '';
"""
# The columns of an event that an erasure leaves as they are: all but the payload.
_SEALED = (
    "sequence", "workflow", "batch", "item_id", "kind", "actor", "payload_sha256", "at", "previous_hash", "hash",
)  # fmt: skip
_CHANGED = " OR ".join(f"NEW.{column} <> OLD.{column}" for column in _SEALED)
_FORBIDDEN_UPDATE = f"NEW.payload <> '{ERASED}' OR {_CHANGED}"
_FINAL = ("roles", "bars", "members", "drawn", "salts")
_BARRED = "EXISTS (SELECT 1 FROM bars WHERE item_id = NEW.item_id AND actor = NEW.actor AND role = NEW.role)"
_UNDRAWN = "NOT EXISTS (SELECT 1 FROM drawn WHERE batch = NEW.batch AND item_id = NEW.item_id)"


def sqlite_schema() -> str:
    """DDL script for SQLite; may run any number of times."""
    refuse = "BEGIN SELECT RAISE(ABORT, '{}'); END;\n"
    script = _TABLES.replace("sequence BIGINT NOT NULL PRIMARY KEY", "sequence INTEGER PRIMARY KEY")
    final = refuse.format("events are append-only")
    script += f"CREATE TRIGGER IF NOT EXISTS events_are_final BEFORE UPDATE ON events WHEN {_FORBIDDEN_UPDATE} {final}"
    script += f"CREATE TRIGGER IF NOT EXISTS events_stay BEFORE DELETE ON events {final}"
    for table in _FINAL:
        said = refuse.format(f"{table} are final")
        script += f"CREATE TRIGGER IF NOT EXISTS {table}_are_final BEFORE UPDATE ON {table} {said}"
        script += f"CREATE TRIGGER IF NOT EXISTS {table}_stay BEFORE DELETE ON {table} {said}"
    barred = refuse.format("this person is barred from the item")
    script += f"CREATE TRIGGER IF NOT EXISTS bars_hold BEFORE INSERT ON roles WHEN {_BARRED} {barred}"
    undrawn = refuse.format("only items drawn from a closed lot are audited")
    script += f"CREATE TRIGGER IF NOT EXISTS audits_are_drawn BEFORE INSERT ON events WHEN NEW.kind = 'audit' AND {_UNDRAWN} {undrawn}"
    return script + f"PRAGMA user_version = {SCHEMA_VERSION};"


def postgres_schema() -> str:
    """DDL script for PostgreSQL 14 or newer, for the schema on the search path; may run any number of times."""
    body = "BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = '23000'; END"
    script = _TABLES + f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ {body} $$ LANGUAGE plpgsql;\n"

    def trigger(name: str, when: str, table: str, each: str, said: str) -> str:
        return (
            f"CREATE OR REPLACE TRIGGER {name} {when} ON {table} FOR EACH {each} EXECUTE FUNCTION refuse('{said}');\n"
        )

    final = "events are append-only"
    script += trigger("events_are_final", "BEFORE UPDATE", "events", f"ROW WHEN ({_FORBIDDEN_UPDATE})", final)
    script += trigger("events_stay", "BEFORE DELETE", "events", "ROW", final)
    script += trigger("events_are_not_emptied", "BEFORE TRUNCATE", "events", "STATEMENT", final)
    for table in _FINAL:
        said = f"{table} are final"
        script += trigger(f"{table}_are_final", "BEFORE UPDATE OR DELETE", table, "ROW", said)
        script += trigger(f"{table}_are_not_emptied", "BEFORE TRUNCATE", table, "STATEMENT", said)
    # A trigger's WHEN may not hold a query in PostgreSQL, so these two ask inside a function.
    for name, table, condition, said in (
        ("bars_hold", "roles", _BARRED, "this person is barred from the item"),
        ("audits_are_drawn", "events", f"NEW.kind = 'audit' AND {_UNDRAWN}", "only items drawn from a closed lot are audited"),
    ):  # fmt: skip
        raised = f"RAISE EXCEPTION USING MESSAGE = '{said}', ERRCODE = '23000'"
        asked = f"BEGIN IF {condition} THEN {raised}; END IF; RETURN NEW; END"
        script += f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS $$ {asked} $$ LANGUAGE plpgsql;\n"
        script += f"CREATE OR REPLACE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();\n"
    return script
