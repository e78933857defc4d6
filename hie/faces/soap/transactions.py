"""Which transactions each address answers, by the Action of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from hie.faces.soap.message import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction: what answers it, what its answer is called, what stands in the body of its request.

    `mtom`: its answers are MTOM packages, also without an attachment.
    """

    handler: Handler
    response_action: str
    request_root: etree.QName
    schema_root: str = ""
    mtom: bool = False


REGISTRY: Mapping[str, Transaction] = {}
REPOSITORY: Mapping[str, Transaction] = {}
