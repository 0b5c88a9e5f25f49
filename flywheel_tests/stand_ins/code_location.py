"""The code location with stand-ins for its heavy children: what a daemon or webserver of a test loads."""

from flywheel_tests.stand_ins import install

install()

from flywheel.definitions import defs  # noqa: E402

__all__ = ["defs"]
