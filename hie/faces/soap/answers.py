"""How a transaction answers: what is refused of its business is said in its answer, anything else is the wire's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from hie.faces.soap import errors
from hie.faces.soap.errors import Actor
from hie.faces.soap.message import Answer, Handler, Request
from hie.standards.errors import HubError


def registry_response(actor: Actor) -> Callable[[Callable[[Request], list[str]]], Handler]:
    """Make a handler of what does the work and gives the warnings that it was done with."""

    def made(work: Callable[[Request], list[str]]) -> Handler:
        @wraps(work)
        def handler(request: Request) -> Answer:
            try:
                found = errors.warnings_of(work(request), actor)
            except HubError as error:
                if not errors.is_business(error):
                    raise
                found = list(errors.errors_of(error, actor))
            return Answer(body=errors.registry_response(found))

        return handler

    return made
