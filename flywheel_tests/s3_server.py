"""An S3 server for slow tests, moto's on loopback: prints its port, then serves one request after the other.

One at a time on purpose: moto looks whether an object is there and then puts it, and only this keeps the two together, as a real store
does. With `--blind` it ignores the conditions of a put, like a store that knows none.
"""

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def main() -> None:
    moto = DomainDispatcherApplication(create_backend_app)

    def blind(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return moto(environ, start)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, blind if "--blind" in sys.argv else moto, threaded=False)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
