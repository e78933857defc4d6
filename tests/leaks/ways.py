"""Every way out of the hub, found where it is declared: nothing here is written down by hand.

A way is (kind, name, what is called). Kinds: ``url``, ``fhir``, ``xds``, ``hl7v2``, ``task``, ``admin``, ``action``, ``command``,
``channel``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.contrib import admin
from django.core.management import get_commands, load_command_class
from django.urls import URLPattern, URLResolver, get_resolver

from hie.celery import app
from hie.exchange import notices, retrieve
from hie.faces.fhir.resources import resources, system_operations, transaction_interaction
from hie.faces.hl7v2 import adt, qbp
from hie.faces.hl7v2.handler import Hl7v2Handler
from hie.faces.soap import transactions
from hie.faces.soap.hl7v3.handler import Hl7v3Handler
from hie.outbox import outbox

_INTERACTIONS = (
    "read",
    "vread",
    "history",
    "search",
    "create",
    "update",
    "delete",
    "conditional_update",
    "conditional_delete",
)
_ADMIN_PAGES = ("", "add/", "<path:object_id>/history/", "<path:object_id>/delete/", "<path:object_id>/change/",
                "<path:object_id>/")  # fmt: skip
_NOT_OURS = ("django.", "rest_framework", "drf_spectacular", "unfold", "pgtrigger", "django_celery_beat")


class Way(NamedTuple):
    """One way out."""

    kind: str
    name: str
    target: Callable[..., Any]


def ways(urlconf: str | None = None) -> list[Way]:
    """All of them; `urlconf` None: that of the settings."""
    return [*urls(urlconf), *fhir(), *xds(), *hl7v2(), *tasks(), *admins(), *actions(), *commands(), *channels()]


def urls(urlconf: str | None = None) -> Iterator[Way]:
    """Every URL pattern; the six pages that each ModelAdmin has are the ModelAdmin's own way."""
    standard = {
        f"admin/{model._meta.app_label}/{model._meta.model_name}/{page}"
        for model in admin.site._registry
        for page in _ADMIN_PAGES
    }
    for route, callback in _patterns(get_resolver(urlconf).url_patterns):
        if route not in standard:
            yield Way("url", route, callback)


def _patterns(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for item in patterns:
        route = prefix + str(item.pattern)
        if isinstance(item, URLResolver):
            yield from _patterns(item.url_patterns, route)
        elif isinstance(item, URLPattern):
            yield route, item.callback


def fhir() -> Iterator[Way]:
    """Every interaction and operation of every resource type, and the transaction."""
    yield Way("fhir", "transaction", transaction_interaction().handler)
    for name, operation in sorted(system_operations().items()):
        yield Way("fhir", f"${name}", operation.interaction.handler)
    for name, resource in sorted(resources().items()):
        for kind in _INTERACTIONS:
            interaction = getattr(resource, kind)
            if interaction is not None:
                yield Way("fhir", f"{name} {kind}", interaction.handler)
        for operation in resource.operations:
            yield Way("fhir", f"{name} ${operation.name}", operation.interaction.handler)


def xds() -> Iterator[Way]:
    """Every transaction of the SOAP face, by the last word of its Action."""
    for action, transaction in sorted({**transactions.REGISTRY, **transactions.REPOSITORY}.items()):
        yield Way("xds", action.rpartition(":")[2], inspect.unwrap(transaction.handler))
    # The address hands to the inbox, the inbox to the handler.
    for action in sorted(transactions.PIX):
        yield Way("xds", action.rpartition(":")[2], Hl7v3Handler.handle)


def hl7v2() -> Iterator[Way]:
    """Every event that the listener acts on."""
    for event in sorted(adt.EVENTS):
        yield Way("hl7v2", f"ADT^{event}", Hl7v2Handler.handle)
    for event in sorted(qbp.QUESTIONS):
        yield Way("hl7v2", f"QBP^{event}", Hl7v2Handler.handle)
    yield Way("hl7v2", qbp.CANCEL, Hl7v2Handler.handle)


def tasks() -> Iterator[Way]:
    """Every Celery task of ours."""
    app.loader.import_default_modules()
    for name, task in sorted(app.tasks.items()):
        if not name.startswith("celery."):
            yield Way("task", name, inspect.unwrap(task.run))


def admins() -> Iterator[Way]:
    """Every ModelAdmin."""
    for model, held in admin.site._registry.items():
        yield Way("admin", model._meta.label, type(held))


def actions() -> Iterator[Way]:
    """Every action on rows that an administrators' list offers, and every model that it shows inside a row of another."""
    for model, held in admin.site._registry.items():
        for name in held.actions or ():
            action = held.get_action(name)
            assert action is not None
            yield Way("action", f"{model._meta.label} {action[1]}", inspect.unwrap(action[0]))
        for inline in held.inlines:
            yield Way("action", f"{model._meta.label} > {inline.model._meta.label}", type(held))
    for name, function in admin.site.actions:
        yield Way("action", name, function)


def channels() -> Iterator[Way]:
    """Whatever pushes something out by itself, or is asked by the exchange for what others hold."""
    for kind, channel in sorted(notices._channels.items()):
        yield Way("channel", f"notice {kind}", type(channel))
    for topic in outbox.Topic:
        yield Way("channel", f"outbox {topic.value}", outbox.add)
    for source in retrieve._SOURCES:
        yield Way("channel", f"source {source.__module__}.{source.__qualname__}", source)


def commands() -> Iterator[Way]:
    """Every management command of ours."""
    for name, where in sorted(get_commands().items()):
        source = where if isinstance(where, str) else where.__module__
        if not source.startswith(_NOT_OURS):
            yield Way("command", name, type(load_command_class(source, name)))
