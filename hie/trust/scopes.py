"""Scopes: SMART v2 and v1, and IHE transaction names.

SMART v2 ``system/Patient.rs`` names the interactions by letter: c create, r read, u update,
d delete, s search. v1 ``.read`` is rs, ``.write`` cud, ``.*`` all. ``system/*`` is every type. An IHE
scope (``ITI-67``) opens exactly that transaction. The query part of v2 is not enforced here, so a
scope that carries one opens nothing and is never granted.

Source: SMART App Launch 2.1 "Scopes"; IUA; spec/fhir.md 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_SMART = re.compile(r"^system/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)$")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_LETTERS = "cruds"

# What a SMART caller must be allowed so that a transaction is open to it without its IHE scope.
TRANSACTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "ITI-65": (("DocumentReference", "c"), ("List", "c"), ("Binary", "c")),
    "ITI-105": (("DocumentReference", "c"),),
    "ITI-41": (("DocumentReference", "c"), ("List", "c"), ("Binary", "c")),
    "ITI-42": (("DocumentReference", "c"), ("List", "c")),
    "ITI-61": (("DocumentReference", "c"), ("List", "c")),
    "ITI-18": (("DocumentReference", "s"), ("List", "s")),
    "ITI-51": (("DocumentReference", "s"), ("List", "s")),
    "ITI-43": (("Binary", "r"),),
    "ITI-57": (("DocumentReference", "u"), ("List", "c")),
    "ITI-92": (("DocumentReference", "u"), ("List", "c")),
    "ITI-62": (("DocumentReference", "d"), ("List", "d")),
    "ITI-86": (("Binary", "d"),),
    "ITI-66": (("List", "s"),),
    "ITI-67": (("DocumentReference", "s"),),
    "ITI-68": (("Binary", "r"),),
    "ITI-78": (("Patient", "s"),),
    "ITI-119": (("Patient", "s"),),
    "ITI-83": (("Patient", "s"),),
    "ITI-104": (("Patient", "u"),),
    "ITI-44": (("Patient", "u"),),
    "ITI-93": (("Patient", "c"), ("Patient", "u"), ("Patient", "d")),
    "ITI-94": (("Subscription", "c"),),
    "ITI-81": (("AuditEvent", "s"),),
    "ITI-20": (("AuditEvent", "c"),),
    "ITI-108": (("Consent", "c"),),
    "ITI-90": (("Organization", "s"),),
}
# Interactions that are one transaction and nothing else, so that its IHE scope opens them by themselves.
_OPENS: dict[str, tuple[str, str]] = {
    "ITI-105": ("DocumentReference", "c"),
    "ITI-66": ("List", "rs"),
    "ITI-67": ("DocumentReference", "rs"),
    "ITI-68": ("Binary", "r"),
    "ITI-78": ("Patient", "rs"),
    "ITI-104": ("Patient", "cud"),
    "ITI-94": ("Subscription", "cruds"),
    "ITI-81": ("AuditEvent", "rs"),
    "ITI-20": ("AuditEvent", "c"),
}


@lru_cache(maxsize=4096)
def _smart(scope: str) -> tuple[str, str] | None:
    """``(type or *, letters)`` of a SMART scope of a system, or None."""
    match = _SMART.match(scope)
    return (match[1], _V1.get(match[2], match[2])) if match else None


@lru_cache(maxsize=4096)
def _allows(scopes: frozenset[str], resource: str, verb: str) -> bool:
    for scope in scopes:
        smart = _smart(scope)
        if smart is not None:
            if smart[0] in ("*", resource) and verb in smart[1]:
                return True
        elif scope in _OPENS and _OPENS[scope][0] == resource and verb in _OPENS[scope][1]:
            return True
    return False


def allows(scopes: Iterable[str], resource: str, verb: str) -> bool:
    """Whether the scopes open this interaction (`verb`: one of c r u d s) on this resource type."""
    if len(verb) != 1 or verb not in _LETTERS:
        raise ValueError(f"verb must be one of c r u d s, not {verb!r}")
    return _allows(frozenset(scopes), resource, verb)


def allows_transaction(scopes: Iterable[str], transaction: str) -> bool:
    """Whether the scopes open this IHE transaction: by its own name, or by SMART scopes for all it touches."""
    held = frozenset(scopes)
    if transaction in held:
        return True
    smart = frozenset(scope for scope in held if _smart(scope) is not None)
    needed = TRANSACTIONS.get(transaction, ())
    return bool(needed) and all(_allows(smart, resource, verb) for resource, verb in needed)


@lru_cache(maxsize=4096)
def granted(requested: tuple[str, ...], registered: tuple[str, ...]) -> tuple[str, ...]:
    """What of the requested scopes the registration covers, in the order asked.

    A scope wholly covered is granted as it was written; one partly covered is narrowed, in v2
    form, to what is covered; the rest is left out. Scopes that are not SMART's match exactly.
    """
    found: list[str] = []
    for scope in requested:
        smart = _smart(scope)
        if smart is None:
            # A SMART scope of another context or with a query part is not in force here, even if registered.
            if scope in registered and not scope.startswith(("system/", "user/", "patient/")):
                found.append(scope)
            continue
        found.extend(_narrowed(scope, smart, registered))
    return tuple(dict.fromkeys(found))


def _narrowed(scope: str, smart: tuple[str, str], registered: tuple[str, ...]) -> list[str]:
    resource, letters = smart
    held = [parsed for parsed in map(_smart, registered) if parsed is not None]
    covering = {letter for name, verbs in held if name in ("*", resource) for letter in verbs}
    if set(letters) <= covering:
        return [scope]
    narrowed: list[str] = []
    if shared := "".join(letter for letter in _LETTERS if letter in letters and letter in covering):
        narrowed.append(f"system/{resource}.{shared}")
    if resource == "*":
        for name in dict.fromkeys(name for name, _ in held if name != "*"):
            verbs = {letter for held_name, some in held if held_name == name for letter in some}
            extra = "".join(c for c in _LETTERS if c in letters and c in verbs and c not in covering)
            if extra:
                narrowed.append(f"system/{name}.{extra}")
    return narrowed
