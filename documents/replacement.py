"""What replacing a document entry does, however the replacement is said: at registration or as an association added later.

One entry is replaced by one. It is deprecated with all that was appended to it or transformed from it, and what
replaces it joins its folders. Everything here runs in the caller's transaction, with the entries concerned locked.

Source: spec/xds.md 3.5, 4 (IHE ITI TF-3 4.2.2.2, TF-2 3.42.4.1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import F

from documents import rows
from documents.errors import DeprecatedTarget
from documents.metadata import ADDING, REPLACING, AssociationMetadata, AssociationType, Status
from documents.models import Association, DocumentEntry, Folder, SubmissionSet
from hie.database import insert
from hie.standards.errors import HubError

_FOLLOWING = [kind.value for kind in ADDING]
_HAS_MEMBER = AssociationType.HAS_MEMBER.value
_APPROVED, _DEPRECATED = Status.APPROVED.value, Status.DEPRECATED.value


def replacing(associations: Iterable[AssociationMetadata], uuid_of: Callable[[str], UUID]) -> dict[UUID, UUID]:
    """Which entry is replaced by which, target to source, of the associations that replace (RPLC, XFRM_RPLC)."""
    return {uuid_of(one.target): uuid_of(one.source) for one in associations if one.type in REPLACING}


def check_one_replacement(
    associations: Iterable[AssociationMetadata], uuid_of: Callable[[str], UUID]
) -> Iterable[HubError]:
    """Refuse the second of two associations of one submission that replace the same entry, naming both.

    After the first the entry is deprecated, and nothing replaces what is: two submissions that came one after the other
    would be answered so, and an entry has one successor that its readers are led to.
    """
    first: dict[UUID, str] = {}
    for one in associations:
        if one.type not in REPLACING:
            continue
        before = first.setdefault(uuid_of(one.target), one.entry_uuid)
        if before != one.entry_uuid:
            yield DeprecatedTarget(
                f"{one.target} is replaced by Association[{before}] already, and cannot be by"
                f" Association[{one.entry_uuid}] too",
                element=f"Association[{one.entry_uuid}].targetObject",
            )


_FOLLOWERS = """
WITH RECURSIVE gone(key) AS (
    SELECT unnest(%s::uuid[])
  UNION
    SELECT a.source FROM gone g CROSS JOIN LATERAL (
        SELECT a.source FROM documents_association a
         WHERE a.target = g.key AND a.type = ANY(%s) AND a.availability_status = %s AND a.source <> ALL(%s::uuid[]) OFFSET 0
    ) AS a
)
SELECT e.entry_uuid FROM documents_documententry e
 WHERE e.entry_uuid = ANY(ARRAY(SELECT key FROM gone)) AND e.availability_status = %s ORDER BY e.id FOR UPDATE OF e
"""
# Each step by its index, whatever is guessed of how many there are: OFFSET 0 and the array keep joins from being made.


def superseded(replaced_by: Mapping[UUID, UUID]) -> set[UUID]:
    """The approved entries that these replacements deprecate: the replaced, and all appended to or transformed from them.

    What replaces stays, though it be an addendum to what it replaces. The entries are locked.
    """
    if not replaced_by:
        return set()
    found: set[UUID] = set()
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                _FOLLOWERS, [list(replaced_by), _FOLLOWING, _APPROVED, sorted(set(replaced_by.values())), _APPROVED]
            )
            locked = {row[0] for row in cursor.fetchall()} | found
        # While this waited for one that follows, something may have been added to it; to the replaced nothing can be.
        if locked <= found | replaced_by.keys():
            return locked
        found = locked


def deprecate(entry_uuids: Collection[str | UUID], *, at: datetime) -> None:
    """Deprecate entries, replaced ones or such that nothing replaces, as the paper of a consent that has ended."""
    keys = {UUID(str(one).removeprefix("urn:uuid:")) for one in entry_uuids}
    if keys:
        DocumentEntry.objects.filter(entry_uuid__in=keys).update(
            availability_status=_DEPRECATED, updated_at=at, revision=F("revision") + 1
        )


def join_folders(replaced_by: Mapping[UUID, UUID], own: SubmissionSet, at: datetime) -> None:
    """What replaces an entry joins each approved folder of it that it is not in; the old membership stays."""
    if not replaced_by:
        return
    memberships = Association.objects.filter(type=_HAS_MEMBER, availability_status=_APPROVED).filter(
        source__in=Folder.objects.filter(availability_status=_APPROVED).values("entry_uuid")
    )
    joined = {(one.source, replaced_by[one.target]) for one in memberships.filter(target__in=replaced_by)}
    if joined:
        theirs = memberships.filter(target__in=[entry for _, entry in joined])
        joined -= set(theirs.values_list("source", "target"))
    new: list[Association] = []
    for folder, entry in sorted(joined):
        membership = rows.membership(folder, entry, own, at)
        new += [membership, rows.membership(own.entry_uuid, membership.entry_uuid, own, at)]
    insert(new)
    touch({folder for folder, _ in joined}, at)


def touch(folders: Collection[UUID], at: datetime) -> None:
    """A folder is one version further for each submission that puts something into it."""
    if folders:
        held = Folder.objects.select_for_update().filter(entry_uuid__in=folders).order_by("pk")
        untouched = Folder.objects.filter(pk__in=[row.pk for row in held]).exclude(last_update_time=at)
        untouched.update(last_update_time=at, revision=F("revision") + 1)
