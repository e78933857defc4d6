"""Scopes: what opens what."""

from __future__ import annotations

import pytest

from hie.trust import scopes


@pytest.mark.parametrize(
    ("scope", "resource", "verbs"),
    [
        ("system/Patient.rs", "Patient", "rs"),
        ("system/Patient.rs", "List", ""),
        ("system/Patient.cruds", "Patient", "cruds"),
        ("system/*.cruds", "Binary", "cruds"),
        ("system/*.r", "Binary", "r"),
        ("system/Patient.read", "Patient", "rs"),
        ("system/Patient.write", "Patient", "cud"),
        ("system/Patient.*", "Patient", "cruds"),
        ("system/*.*", "List", "cruds"),
        ("user/Patient.rs", "Patient", ""),
        ("system/Patient.sr", "Patient", ""),
        ("system/Patient.", "Patient", ""),
        ("system/Patient.rs?name=x", "Patient", ""),
        ("system/Pat.rs", "Patient", ""),
        ("ITI-67", "DocumentReference", "rs"),
        ("ITI-67", "Patient", ""),
        ("ITI-68", "Binary", "r"),
    ],
)
def test_a_scope_opens_these_interactions_and_no_other(scope, resource, verbs):
    assert "".join(verb for verb in "cruds" if scopes.allows({scope}, resource, verb)) == verbs


def test_a_verb_is_one_letter():
    with pytest.raises(ValueError, match="verb"):
        scopes.allows({"system/*.cruds"}, "Patient", "rs")


def test_an_ihe_scope_opens_exactly_its_transaction():
    opened = {name for name in scopes.TRANSACTIONS if scopes.allows_transaction({"ITI-78"}, name)}
    assert opened == {"ITI-78"}


def test_smart_scopes_open_a_transaction_when_they_cover_all_of_it():
    assert scopes.allows_transaction({"system/DocumentReference.rs"}, "ITI-67")
    assert not scopes.allows_transaction({"system/DocumentReference.c"}, "ITI-65")
    assert scopes.allows_transaction({"system/*.c"}, "ITI-65")
    assert not scopes.allows_transaction({"system/*.cruds"}, "ITI-999")


@pytest.mark.parametrize(
    ("requested", "registered", "granted"),
    [
        ("system/Patient.rs", "system/*.cruds", "system/Patient.rs"),
        ("system/*.rs", "system/Patient.rs system/List.r", "system/Patient.rs system/List.r"),
        ("system/*.cruds", "system/*.rs system/Patient.c", "system/*.rs system/Patient.c"),
        ("system/Patient.cruds", "system/Patient.rs", "system/Patient.rs"),
        ("system/Patient.write", "system/Patient.c", "system/Patient.c"),
        ("system/Patient.rs system/Patient.rs", "system/Patient.rs", "system/Patient.rs"),
        ("openid introspect", "introspect", "introspect"),
        ("user/Patient.rs", "user/Patient.rs", ""),
        ("system/Patient.rs?x=y", "system/Patient.rs?x=y", ""),
        ("system/Patient.rs", "ITI-78", ""),
    ],
)
def test_what_is_granted_is_asked_for_and_registered(requested, registered, granted):
    assert " ".join(scopes.granted(tuple(requested.split()), tuple(registered.split()))) == granted
