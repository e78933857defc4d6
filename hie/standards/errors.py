"""The root of every refusal the hub can speak.

A refusal is data, not prose: each face turns it into its own word through one
table. Subclass `HubError` directly (a flat tree keeps "every refusal has a
code" a one-line test), beside the rule that raises it: `patients/errors.py`,
`documents/errors.py`, `consent/errors.py`, `hie/exchange/errors.py`,
`hie/trust/errors.py`, `hie/directory/errors.py`.
"""

from __future__ import annotations


class HubError(Exception):
    """Something the caller asked for is refused; nothing was half done.

    The message is one sentence for the caller: identifiers of messages and
    documents, never names, birth dates or content. `element` names what was
    wrong in the caller's own terms where the raiser knows it (a metadata
    attribute such as ``DocumentEntry.classCode``); a face may refine it.
    """

    element: str | None = None

    def __init__(self, message: str = "", *, element: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0])
        if element is not None:
            self.element = element


class MalformedContent(HubError):
    """Bytes that should be XML, JSON or a message cannot be read as such."""
