"""A hub's real web server that answers with the small transactions; run by the tests that need real connections."""

from __future__ import annotations

import sys


def main() -> int:
    """Serve until told to stop; everything else comes from the environment, as for `./hub web`."""
    import hie.wsgi  # noqa: F401  sets Django up
    from hie.faces.soap import transactions
    from hie.ops import web
    from tests.soap import echo

    transactions.REGISTRY = echo.REGISTRY
    transactions.REPOSITORY = echo.REPOSITORY
    return web.main([])


if __name__ == "__main__":
    sys.exit(main())
