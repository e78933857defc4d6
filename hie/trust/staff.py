"""Roles of the exchange's own staff as Django groups with least rights.

The table of the door (`hie.exchange.access.STAFF_MAY`) says who may look at what of a patient; here is which pages a
role opens at all. A test holds the two together. An administrator is a superuser: every page, which is not every word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils import timezone

from hie.trust import accounts
from hie.trust.models import SignInAttempts, StaffAffiliation

IDENTITY_PAGES = (
    "patients.view_person", "patients.view_sourcerecord", "patients.view_reviewitem", "patients.view_identityevent",
    "patients.view_matchdecision", "patients.view_matchmodel", "patients.view_importrun", "patients.view_link",
    "patients.view_patientidentifier", "exchange.view_deathobjection",
)  # fmt: skip
DOCUMENT_PAGES = (
    "documents.view_documententry", "documents.view_reviewitem", "documents.view_submissionset",
    "documents.view_folder", "documents.view_association", "documents.view_entrycode", "documents.view_labelassignment",
)  # fmt: skip
CONSENT_PAGES = (
    "consent.view_consent", "consent.view_consentversion", "consent.view_proxygrant", "consent.view_breakglassgrant",
    "consent.view_jurisdiction", "consent.view_codetable", "consent.view_emergencyreview", "consent.view_policyproposal",
    "consent.view_retentionrun", "consent.view_legalhold", "directory.view_releasepolicy",
)  # fmt: skip
AUDIT_PAGES = (
    "audit.view_auditevent", "audit.view_disclosure", "audit.view_auditseal", "audit.view_checkpoint",
    "exchange.view_concern",
)  # fmt: skip
QUERY_PAGES = ("exchange.view_query", "exchange.view_querytarget", "exchange.view_remotedocument")
DIRECTORY_PAGES = (
    "directory.view_participant", "directory.view_agreement", "directory.view_endpoint", "directory.view_clientkey",
    "directory.view_certificate", "directory.view_assigningauthority", "directory.view_facility",
    "directory.view_practitioner", "directory.view_directorychange", "directory.view_placement",
    "directory.view_publicholiday",
)  # fmt: skip
MESSAGE_PAGES = ("exchange.view_inboundmessage",)
CODE_PAGES = ("terminology.view_codeset", "terminology.view_code", "terminology.view_localcode")
EXCHANGE_FIGURES = ("audit.see_exchange", "audit.see_queries")
MATCHING_FIGURES = ("audit.see_matching",)
CHOICE_FIGURES = ("audit.see_choices",)
PARTICIPANT_FIGURES = ("audit.see_feeds", "audit.see_participants")

PAGES: dict[str, tuple[str, ...]] = {
    "administrator": (),
    "privacy-officer": (
        *IDENTITY_PAGES, *DOCUMENT_PAGES, *CONSENT_PAGES, *AUDIT_PAGES, *QUERY_PAGES, *DIRECTORY_PAGES,
        "trust.view_activationcode", *EXCHANGE_FIGURES, *MATCHING_FIGURES, *CHOICE_FIGURES, *PARTICIPANT_FIGURES,
    ),
    "steward": (
        *IDENTITY_PAGES, *DOCUMENT_PAGES, *CODE_PAGES, *MATCHING_FIGURES, "audit.see_feeds",
        "terminology.change_codeset", "terminology.add_code", "terminology.change_code",
    ),
    "onboarding": (
        *DIRECTORY_PAGES, "directory.view_onboarding", "directory.change_participant", "directory.add_facility",
        "directory.change_facility", "consent.view_policyproposal", *PARTICIPANT_FIGURES,
    ),
    "auditor": (
        *CONSENT_PAGES, *AUDIT_PAGES, *QUERY_PAGES, *DIRECTORY_PAGES, *EXCHANGE_FIGURES, *CHOICE_FIGURES, *PARTICIPANT_FIGURES,
    ),
    "operator": (
        *QUERY_PAGES, *MESSAGE_PAGES, *DIRECTORY_PAGES, *CODE_PAGES,
        "outbox.view_outboxmessage", "documents.view_blob", *EXCHANGE_FIGURES, *PARTICIPANT_FIGURES,
    ),
}  # fmt: skip


def ensure_roles() -> bool:
    """Create the group of every role with exactly its rights; whether anything changed. Safe to run again.

    Raises:
        LookupError: a right of the table does not exist (the migrations have not run).
    """
    changed = False
    with transaction.atomic():
        rights = {f"{app}.{name}": pk for pk, app, name in Permission.objects.values_list("pk", *_RIGHT)}
        groups = {group.name: group for group in Group.objects.filter(name__in=PAGES).prefetch_related("permissions")}
        for role, names in PAGES.items():
            if missing := set(names) - rights.keys():
                raise LookupError(f"no such right: {', '.join(sorted(missing))}")
            wanted = {rights[name] for name in names}
            group = groups.get(role)
            if group is not None and wanted == {one.pk for one in group.permissions.all()}:
                continue
            (group or Group.objects.get_or_create(name=role)[0]).permissions.set(wanted)
            changed = True
    return changed


_RIGHT = ("content_type__app_label", "codename")


def employers(username: str) -> tuple[str, ...]:
    """The participants that a member of staff works at besides, by id."""
    rows = StaffAffiliation.objects.filter(username=username).order_by("organization")
    return tuple(rows.values_list("organization", flat=True))


def set_employers(username: str, organizations: Collection[str]) -> bool:
    """Say where else a member of staff works: exactly these; whether anything changed."""
    wanted = set(organizations)
    with transaction.atomic():
        held = set(employers(username))
        StaffAffiliation.objects.filter(username=username, organization__in=held - wanted).delete()
        StaffAffiliation.objects.bulk_create(
            [StaffAffiliation(username=username, organization=one) for one in sorted(wanted - held)]
        )
    return held != wanted


def count_attempt(username: str) -> None:
    """Count an attempt to sign in to the desk as a failure, before it is tried.

    Raises:
        TooManyRequests: too many in a row under this name; nothing may be tried now.
    """
    accounts._count(_digest(username))


def forget_attempts(username: str) -> None:
    """The attempt succeeded."""
    accounts._forget(_digest(username))


def locked_until(usernames: Iterable[str]) -> dict[str, datetime]:
    """Until when nobody may try to sign in under these names, of those that are locked now; one statement."""
    rows = SignInAttempts.objects.filter(locked_until__gt=timezone.now()).values_list("login_digest", "locked_until")
    locked = {bytes(digest): until for digest, until in rows if until is not None}
    return {name: locked[digest] for name in usernames if (digest := _digest(name)) in locked} if locked else {}


def _digest(username: str) -> bytes:
    # Apart from the portal's names, and not readable: passwords are typed into the wrong field.
    return hashlib.sha256(f"desk\0{username.strip().casefold()}".encode()).digest()
