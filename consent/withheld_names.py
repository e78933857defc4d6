"""Names of people that a law lets an organization hold back from the patient who reads who looked, and who can tell them.

A law says so in its member `withheldNames`, a list of rules:
``{"id", "title", "roles", "purposes", "organizationTypes", "organizations", "exceptOrganizations", "contact",
"contacts"}``. The law that counts is that of the place of the organization that looked. A rule holds where each of its
lists that is given names the look: its role; its purpose or one above it; the type of the organization; the organization or
one above it. A rule without lists holds for everybody of that place. The first rule that holds counts.

`contact` is who can tell: ``{"office", "phone", "address"}`` with a phone or an address; without `office` it is the
privacy office of the organization itself. `contacts` says otherwise for single organizations and what is below them, by id.
A change is one of the law: proposed by one person, put into force by another (`consent.governance`).

Source: spec/consent.md 15 ("a reason why the name is withheld by law and who can tell it").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from consent import policies
from consent.engine import Policy, Tables
from consent.engine.codes import keep
from consent.errors import PolicyRefused
from hie.directory.models import ParticipantType

MEMBER = "withheldNames"
LONGEST = 200
"""Characters of an office, a phone number or an address: it stands in a sentence."""
_LISTS = ("roles", "purposes", "organizationTypes", "organizations", "exceptOrganizations")
_WORDS = frozenset({"id", "title", "description", "source"})
_CONTACT = ("office", "phone", "address")

_lock = Lock()
_read: NameRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Who can tell a name: an office ("" that of the organization itself), and how it is reached."""

    office: str = ""
    phone: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """That a rule, by its id, holds back a name, and who can tell it."""

    rule: str
    contact: Contact


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRule:
    """One rule of a law; None: not a criterion."""

    id: str
    contact: Contact
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    roles: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    organization_types: frozenset[str] | None = None
    organizations: frozenset[str] | None = None
    except_organizations: frozenset[str] | None = None

    def contact_of(self, chain: Iterable[str]) -> Contact:
        """Who can tell of an organization, given with those above it, nearest first."""
        return next((self.contacts[one] for one in chain if one in self.contacts), self.contact)


@dataclass(frozen=True, slots=True)
class NameRules:
    """The rules of every law in force, by code; false where no law holds back a name."""

    policy: Policy
    by_law: Mapping[str, tuple[NameRule, ...]]
    _found: dict[tuple[str, str, str], Withheld | None] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.by_law)

    def of_look(self, organization: str, role: str, purpose: str) -> Withheld | None:
        """By which rule the name of who looked is held back, and who can tell it; None: it is told.

        Of an organization that the hub does not know the hub's own law counts.
        """
        if not self.by_law:
            return None
        key = (organization, role, purpose)
        if key not in self._found:
            keep(self._found, key, self._of_look(*key))
        return self._found[key]

    def _of_look(self, organization: str, role: str, purpose: str) -> Withheld | None:
        known = self.policy.participants.get(organization)
        law = known.jurisdiction if known is not None else self.policy.jurisdiction_of(None)
        chain = known.chain if known is not None else (organization,)
        type_ = known.type if known is not None else None
        families = self.policy.tables.families.get(purpose, frozenset({purpose}))
        for rule in self.by_law.get(law.code, ()) if law is not None else ():
            if (
                (rule.roles is None or role in rule.roles)
                and (rule.purposes is None or not rule.purposes.isdisjoint(families))
                and (rule.organization_types is None or type_ in rule.organization_types)
                and (rule.organizations is None or not rule.organizations.isdisjoint(chain))
                and (rule.except_organizations is None or rule.except_organizations.isdisjoint(chain))
            ):
                return Withheld(rule=rule.id, contact=rule.contact_of(chain))
        return None


def in_force() -> NameRules:
    """The rules now: read once an epoch, one statement when nothing changed."""
    global _read
    policy = policies.current()
    held = _read
    if held is not None and held.policy is policy:
        return held
    sources = policies.sources_of(policy)
    laws = sources.jurisdictions if sources is not None else {}
    read = NameRules(policy, {code: tuple(map(_rule, body[MEMBER])) for code, body in laws.items() if body.get(MEMBER)})
    with _lock:
        _read = read
    return read


def _rule(given: Mapping[str, Any]) -> NameRule:
    lists = {name: frozenset(given[name]) if name in given else None for name in _LISTS}
    return NameRule(
        id=given["id"],
        contact=Contact(**given["contact"]),
        contacts={one: Contact(**contact) for one, contact in given.get("contacts", {}).items()},
        roles=lists["roles"],
        purposes=lists["purposes"],
        organization_types=lists["organizationTypes"],
        organizations=lists["organizations"],
        except_organizations=lists["exceptOrganizations"],
    )


def check(rules: Any, known: Tables, members: Mapping[str, Any] | None) -> None:
    """Refuse rules that could not be read, or name what the hub does not know (`members` None: whom is not asked).

    Raises:
        PolicyRefused: the first thing that is wrong; `element` names it.
    """
    place = f"body.{MEMBER}"
    if not isinstance(rules, list):
        raise PolicyRefused("is not a list", element=place)
    seen: set[str] = set()
    lists: dict[str, Mapping[str, Any] | None] = {
        "roles": known.roles,
        "purposes": known.families,
        "organizationTypes": dict.fromkeys(ParticipantType.values),
        "organizations": members,
        "exceptOrganizations": members,
    }
    for n, rule in enumerate(rules):
        _check_rule(rule, f"{place}[{n}]", lists, seen)


def _check_rule(rule: Any, place: str, lists: Mapping[str, Mapping[str, Any] | None], seen: set[str]) -> None:
    if not isinstance(rule, Mapping):
        raise PolicyRefused("is not an object", element=place)
    identifier = rule.get("id")
    if not isinstance(identifier, str) or not identifier.strip() or identifier in seen:
        raise PolicyRefused("is a name of its own", element=f"{place}.id")
    seen.add(identifier)
    for member in rule:
        if member not in {*_WORDS, *_LISTS, "contact", "contacts"}:
            raise PolicyRefused("is no member of a rule about names", element=f"{place}.{member}")
    for name, known in lists.items():
        if name not in rule:
            continue
        listed, element = rule[name], f"{place}.{name}"
        if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
            raise PolicyRefused("is a list of at least one: leave it out for all", element=element)
        for one in listed:
            if known is not None and one not in known:
                raise PolicyRefused(f"{one} is not known", element=element)
    _check_contact(rule.get("contact"), f"{place}.contact")
    others = rule.get("contacts", {})
    if not isinstance(others, Mapping):
        raise PolicyRefused("is not an object", element=f"{place}.contacts")
    members = lists["organizations"]
    for one, contact in others.items():
        if members is not None and one not in members:
            raise PolicyRefused(f"{one} is not known", element=f"{place}.contacts")
        _check_contact(contact, f"{place}.contacts.{one}")


def _check_contact(given: Any, place: str) -> None:
    if not isinstance(given, Mapping):
        raise PolicyRefused("is missing: somebody can tell the name", element=place)
    for member, value in given.items():
        if member not in _CONTACT:
            raise PolicyRefused("is no member of a contact", element=f"{place}.{member}")
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
            raise PolicyRefused(f"is a text of 1 to {LONGEST} characters", element=f"{place}.{member}")
        if any(sign < " " for sign in value):
            raise PolicyRefused("is one line of text", element=f"{place}.{member}")
    if not (given.get("phone") or given.get("address")):
        raise PolicyRefused("has neither phone nor address", element=place)
