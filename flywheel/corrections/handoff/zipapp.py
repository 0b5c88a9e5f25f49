"""`verify.pyz`: the judge as one file that a partner runs with Python and `jsonschema`. The same code gives the same bytes."""

import io
import zipfile
from pathlib import Path

from flywheel.corrections.handoff import verify

PACKAGE = "flywheel_verify"
_MAIN = f'''"""Run the judge; it needs Python 3.11 or newer and jsonschema."""

import sys

if sys.version_info < (3, 11):
    sys.exit("verify.pyz needs Python 3.11 or newer")
try:
    import jsonschema, referencing  # noqa: E401, F401
except ImportError:
    print("verify.pyz needs one package: python -m pip install 'jsonschema>=4.18'", file=sys.stderr)
    sys.exit(2)
from {PACKAGE}.command import main

sys.exit(main())
'''


def verify_zipapp() -> bytes:
    """The zipapp's bytes: a shebang line and an archive with sorted names and fixed dates, not compressed, as zlib's output may change."""
    folder = Path(verify.__file__).parent
    sources = {f"{PACKAGE}/{file.name}": file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    sources["__main__.py"] = _MAIN
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources[name])
    return b"#!/usr/bin/env python3\n" + packed.getvalue()
