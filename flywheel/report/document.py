"""The shell of every page: one self-contained HTML file, no script, no request to anywhere, light and dark."""

from flywheel.report.text import escaped

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6470; --line: #d9dde2; --paper: #fcfcfb; --good: #2f7d5b; --bad: #a8443a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a3abb5; --line: #3a4149; --paper: #171a1e; } svg { filter: brightness(1.35); } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; } h3 { font-size: .95rem; margin: 1.4rem 0 .3rem; color: var(--soft); } p.lead { color: var(--soft); margin: .2rem 0 1.4rem; }
.verdict { border-left: 4px solid var(--soft); padding: .6rem 1rem; } .PROMOTE { border-color: var(--good); } .REJECT, .INVALID { border-color: var(--bad); }
.verdict strong { font-size: 1.2rem; } table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; } td.number { white-space: nowrap; font-variant-numeric: tabular-nums; } code { font-size: .86em; } .simulated { background: #8a6d1f22; padding: .5rem .8rem; }
svg { max-width: 100%; height: auto; } figure { margin: 1.2rem 0 1.6rem; } figcaption { font-size: .95rem; margin-bottom: .3rem; }
a { color: inherit; } .case { border-left: 3px solid var(--soft); padding-left: .9rem; margin: 1rem 0; } .case.regressed { border-color: var(--bad); } .case.fixed { border-color: var(--good); }
.case p { margin: 0; } .case table { font-size: .88rem; table-layout: fixed; } .case th { width: 8.5rem; font-weight: normal; color: var(--soft); } .case td { overflow-wrap: anywhere; }
table.weeks { font-size: .85rem; } table.weeks td { white-space: nowrap; } details { font-size: .85rem; } summary { color: var(--soft); cursor: pointer; } .scroll { overflow-x: auto; }
"""


def document(title: str, body: str) -> str:
    """A whole page around a body that is HTML already; the title is escaped here."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escaped(title)}</title><style>{_STYLE}</style>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'
