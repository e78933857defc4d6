"""The routing table: which resource types there are, what each can do, and by which parameters it is searched.

The CapabilityStatement is generated from these rows, and the dispatcher in `http.py` looks nowhere else,
so what is declared and what works cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hie.faces.fhir.http import Answer, FhirRequest

    Handler = Callable[[FhirRequest], Answer]

MODULES = ("patient", "documents", "lists", "binary", "consent", "audit", "subscription")
"""Modules of this package that offer a `RESOURCE`; operations of other modules hang on their resource."""


class ParamType(StrEnum):
    """Kinds of search parameters the hub parses."""

    TOKEN = "token"  # noqa: S105 - a FHIR word
    STRING = "string"
    DATE = "date"
    REFERENCE = "reference"
    URI = "uri"


MODIFIERS: Mapping[ParamType, frozenset[str]] = {
    ParamType.TOKEN: frozenset({"not", "missing"}),
    ParamType.STRING: frozenset({"exact", "contains", "missing"}),
    ParamType.DATE: frozenset({"missing"}),
    ParamType.REFERENCE: frozenset({"identifier", "missing"}),
    ParamType.URI: frozenset({"missing"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One search parameter. `modifiers` None means all of its kind; `targets` are the types a reference may name.

    A chained parameter is one with a dot in its name (``patient.identifier``); it is not declared in the
    CapabilityStatement, where FHIR has no place for chains.
    """

    name: str
    type: ParamType
    definition: str = ""
    targets: tuple[str, ...] = ()
    modifiers: frozenset[str] | None = None
    documentation: str = ""

    def allows(self, modifier: str) -> bool:
        """Whether this parameter may carry the modifier."""
        return modifier in (MODIFIERS[self.type] if self.modifiers is None else self.modifiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A handler with what a token needs to call it.

    `verb` is the SMART letter (c r u d s); `transactions` the IHE scopes that open it as well.
    `body`: ``json`` (read and checked before the call, but by GET; in XML just as well), ``raw`` (the handler reads the stream itself), ``none``.
    `negotiates`: the handler looks at Accept itself (documents of any type). `lenient`: the base
    structure is left to the handler.
    """

    handler: Handler
    verb: str
    transactions: tuple[str, ...] = ()
    body: str = "none"
    negotiates: bool = False
    lenient: bool = False
    max_body: int | None = None
    documentation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDefinition:
    """``$name`` on a type or an instance. `methods` are those it may be called with."""

    name: str
    interaction: Interaction
    definition: str
    methods: tuple[str, ...] = ("POST",)
    on_type: bool = True
    on_instance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource type of this server. An interaction of None is answered 405."""

    type: str
    profile: str = ""
    supported_profiles: tuple[str, ...] = ()
    instantiates: tuple[str, ...] = ()
    read: Interaction | None = None
    vread: Interaction | None = None
    history: Interaction | None = None
    search: Interaction | None = None
    create: Interaction | None = None
    update: Interaction | None = None
    delete: Interaction | None = None
    conditional_update: Interaction | None = None
    conditional_delete: Interaction | None = None
    params: tuple[Param, ...] = ()
    includes: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ("_id", "_lastUpdated")
    operations: tuple[OperationDefinition, ...] = ()
    documentation: str = ""
    by_name: Mapping[str, Param] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {param.name: param for param in self.params})


@cache
def resources() -> Mapping[str, Resource]:
    """All resource types by name, read from the modules once."""
    found: dict[str, Resource] = {}
    for name in MODULES:
        resource: Resource = import_module(f"hie.faces.fhir.{name}").RESOURCE
        found[resource.type] = resource
    return found


@cache
def transaction_interaction() -> Interaction:
    """What a Bundle posted to the base is given to."""
    found: Interaction = import_module("hie.faces.fhir.transaction").INTERACTION
    return found


@cache
def system_operations() -> Mapping[str, OperationDefinition]:
    """Operations of the whole server, by name: ``POST [base]/$name``."""
    found: OperationDefinition = import_module("hie.faces.fhir.pmir").PROCESS_MESSAGE
    return {found.name: found}


ID_PARAM = Param(name="_id", type=ParamType.TOKEN, definition="http://hl7.org/fhir/SearchParameter/Resource-id")
LAST_UPDATED_PARAM = Param(
    name="_lastUpdated", type=ParamType.DATE, definition="http://hl7.org/fhir/SearchParameter/Resource-lastUpdated"
)
