"""Participants registered from a file, suspended, reinstated, and written out again.

Source: design.md "participants"; spec/consent.md 11.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from hie.directory import keys
from hie.directory.epoch import hold_epoch
from hie.directory.errors import Fault, RegistrationRefused, UnknownParticipant
from hie.directory.forms import Form, read_agreement, read_documents, read_placement, read_release_policy
from hie.directory.models import (
    TRUST_LIMIT,
    Agreement,
    AssigningAuthority,
    Certificate,
    ClientKey,
    DirectoryChange,
    Endpoint,
    Participant,
    Placement,
    Practitioner,
    ReleasePolicy,
    Standing,
)
from hie.directory.queries import bare_oid

Result = Literal["created", "updated", "unchanged"]

# Members held as text on the row itself; the rest has rows of its own.
_ROW_TEXTS = (
    "name",
    "type",
    "organization_oid",
    "jurisdiction",
    "status",
    "client_id",
    "jwks_url",
    "default_role",
    "default_purpose",
    "home_community_id",
    "source_id",
)
_REGISTRATION_LOCK = 0x68696501


def apply(
    document: Mapping[str, Any], *, actor: str = "command line", approved_by: str = ""
) -> list[tuple[Result, str]]:
    """Create or update the participants of a file, all or none; those not named stay untouched.

    A member that is left out says nothing is there, as in a fresh registration, with three
    exceptions that a repeated file must not undo: the standing of a participant (a suspension
    ends only by ``"status": "active"``), its agreement's status and period, and the trust in it as a source.

    Returns one result a participant, in the order of the file. Applying a file twice gives
    ``unchanged``. Every change leaves a history row; agreements get a new version. A release policy, agreement or place
    that two people have put into force is changed only in the same way, and a suspension by the desk is ended only by two;
    a file may say again what is in force, or what it said before.

    `approved_by`: the second person, who let in whom it registers; the agreement is then of two people.

    Raises:
        RegistrationRefused: with every fault of the file; nothing has been changed.

    Source: design.md "participants".
    """
    forms, faults = read_documents(document)
    if faults:
        raise RegistrationRefused(faults)
    with transaction.atomic():
        # One registration at a time: the checks below read the whole directory.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_REGISTRATION_LOCK])
        hold_epoch()  # and no policy activated between the checks and what is stored
        stored = {form["id"]: form for form in export()["participants"]}
        said = _said_by_files({form["id"] for form in forms} & stored.keys(), stored)
        wanted = [_complete(form, stored.get(form["id"]), said.get(form["id"])) for form in forms]
        faults = _check_governed(wanted, stored, said)
        faults += _check_together(wanted, stored)
        if faults:
            raise RegistrationRefused(faults)
        try:
            with transaction.atomic():
                return [_store(form, stored.get(form["id"]), actor, approved_by) for form in wanted]
        except IntegrityError as error:
            name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or "a constraint"
            raise RegistrationRefused([Fault(path="participants", message=f"contradicts {name}")]) from error


def faults_of(document: Mapping[str, Any]) -> list[Fault]:
    """Every fault that `apply` would refuse a file for as the directory stands; changes nothing."""
    forms, faults = read_documents(document)
    if not all(form.get("id") and form.get("organization_oid") for form in forms):
        return faults
    stored = {form["id"]: form for form in export()["participants"]}
    said = _said_by_files({form["id"] for form in forms} & stored.keys(), stored)
    wanted = [_complete(form, stored.get(form["id"]), said.get(form["id"])) for form in forms]
    return faults + _check_governed(wanted, stored, said) + _check_together(wanted, stored)


def export(participant_ids: Iterable[str] | None = None) -> Form:
    """All participants, or the ones named, in the form that `apply` reads; 8 queries whatever the count."""
    rows = Participant.objects.prefetch_related(
        "agreements", "authorities", "endpoints", "keys", "certificates", "users"
    ).order_by("pk")
    if participant_ids is not None:
        rows = rows.filter(pk__in=list(participant_ids))
    return {"participants": [_form(row) for row in rows]}


def suspend(participant_id: str, reason: str, actor: str) -> None:
    """Stop a participant from its next request on, also with a token in hand.

    Raises:
        UnknownParticipant: no such participant.
    """
    _stand(participant_id, Standing.SUSPENDED, DirectoryChange.Kind.SUSPENDED, reason, actor)


def reinstate(participant_id: str, reason: str, actor: str) -> int:
    """Let a suspended participant in again; how often its standing has changed by now.

    Raises:
        UnknownParticipant: no such participant.
    """
    _stand(participant_id, Standing.ACTIVE, DirectoryChange.Kind.REINSTATED, reason, actor)
    return standings(participant_id)


def standings(participant_id: str) -> int:
    """How often a participant was suspended and reinstated, files aside; one statement."""
    kinds = [DirectoryChange.Kind.SUSPENDED, DirectoryChange.Kind.REINSTATED]
    return DirectoryChange.objects.filter(participant_id=participant_id, kind__in=kinds).count()


def trust(participant_id: str, rank: int | None, actor: str) -> None:
    """Rank a participant as a source of demographics; None: as the organization above it.

    Golden records follow within a minute (`patients.trust`).

    Raises:
        UnknownParticipant: no such participant. ValueError: the rank is out of bounds.
    """
    if rank is not None and abs(rank) > TRUST_LIMIT:
        raise ValueError(rank)
    with transaction.atomic():
        hold_epoch()  # first, as every writer of policy: two that lock in one order do not wait for each other
        row = Participant.objects.select_for_update().filter(pk=participant_id).first()
        if row is None:
            raise UnknownParticipant(participant_id)
        if row.source_trust == rank:
            return
        before, row.source_trust = row.source_trust, rank
        row.save(update_fields=["source_trust"])
        DirectoryChange.objects.create(
            actor=actor,
            participant_id=participant_id,
            kind=DirectoryChange.Kind.UPDATED,
            changed={"source_trust": [before, rank]},
        )


def release(
    participant_id: str, rules: list[Form], *, effective_from: datetime, actor: str, approved_by: str = ""
) -> int:
    """Give an organization a new version of its release policy, in effect from an instant on; the number of the version.

    `approved_by`: the second person; with one, files do not change it any more.

    Raises:
        RegistrationRefused: a rule cannot be read; nothing was stored. UnknownParticipant: no such participant.
    """
    read, faults = read_release_policy(rules)
    if faults:
        raise RegistrationRefused(faults)
    with transaction.atomic():
        hold_epoch()
        if not Participant.objects.filter(pk=participant_id).exists():
            raise UnknownParticipant(participant_id)
        return _release(participant_id, read, effective_from, actor, approved_by)


def _release(
    participant_id: str, rules: list[Form], effective_from: datetime, actor: str, approved_by: str = ""
) -> int:
    latest = ReleasePolicy.objects.filter(participant_id=participant_id).order_by("-version").first()
    made = ReleasePolicy.objects.create(
        participant_id=participant_id,
        version=latest.version + 1 if latest else 1,
        rules=rules,
        effective_from=effective_from,
        recorded_by=actor,
        approved_by=approved_by,
    )
    DirectoryChange.objects.create(
        actor=f"{actor} and {approved_by}" if approved_by else actor,
        participant_id=participant_id,
        kind=DirectoryChange.Kind.UPDATED,
        reason=f"release policy version {made.version}, from {effective_from.isoformat()}",
        changed={"release_policy_version": [latest.version if latest else None, made.version]},
    )
    return int(made.version)


def agree(participant_id: str, agreement: Form, *, actor: str, approved_by: str) -> int:
    """Give an organization a new version of its agreement, purposes with it, at once; the number of the version.

    `approved_by`: the second person; files do not change it any more.

    Raises:
        RegistrationRefused: it cannot be read; nothing was stored. UnknownParticipant: no such participant.
    """
    read, faults = read_agreement(agreement)
    if faults:
        raise RegistrationRefused(faults)
    with transaction.atomic():
        hold_epoch()
        if not Participant.objects.filter(pk=participant_id).exists():
            raise UnknownParticipant(participant_id)
        return _agree(participant_id, read, actor, approved_by)


def _agree(participant_id: str, agreement: Form, actor: str, approved_by: str = "") -> int:
    latest = Agreement.objects.filter(participant_id=participant_id).order_by("-version").first()
    made = Agreement.objects.create(
        participant_id=participant_id,
        version=latest.version + 1 if latest else 1,
        status=agreement["status"],
        start=agreement["period"]["start"],
        end=agreement["period"].get("end", ""),
        purposes=agreement["purposes"],
        labels_documents=agreement["labels_documents"],
        decision_point=agreement["decision_point"],
        obligations=agreement["obligations"],
        recorded_by=actor,
        approved_by=approved_by,
    )
    if approved_by:
        _note_version(participant_id, "agreement", latest.version if latest else None, made.version, actor, approved_by)
    return int(made.version)


def placement_of(row: Participant) -> Form:
    """Where an organization stands now, in the form of a participants file."""
    said = {"part_of": row.part_of_id, "jurisdiction": row.jurisdiction}
    return {member: value for member, value in said.items() if value}


def check_placement(participant_id: str, placement: Form, path: str = "placement") -> list[Fault]:
    """What keeps an organization from standing there: nothing above it and no law, one that is unknown, or itself; one statement."""
    parent = placement.get("part_of")
    if parent is None:
        return (
            []
            if "jurisdiction" in placement
            else [Fault(path=path, message="names neither a law nor what it is part of")]
        )
    above: dict[str, Form] = {one: {"part_of": over} for one, over in Participant.objects.values_list("pk", "part_of")}
    if parent not in above:
        return [Fault(path=f"{path}.part_of", message=f"{parent} is not registered")]
    above[participant_id] = {"part_of": parent}
    return [Fault(path=f"{path}.part_of", message="leads back to itself")] if _leads_back(participant_id, above) else []


def place(participant_id: str, placement: Form, *, actor: str, approved_by: str) -> int:
    """Put an organization elsewhere, at once: what it is part of, and under whose law; the number of the version.

    `approved_by`: the second person; files do not move it any more.

    Raises:
        RegistrationRefused: it cannot stand there; nothing was stored. UnknownParticipant: no such participant.
    """
    read, faults = read_placement(placement)
    with transaction.atomic():
        hold_epoch()
        row = Participant.objects.select_for_update().filter(pk=participant_id).first()
        if row is None:
            raise UnknownParticipant(participant_id)
        if faults := faults or check_placement(participant_id, read):
            raise RegistrationRefused(faults)
        latest = Placement.objects.filter(participant_id=participant_id).order_by("-version").first()
        before = placement_of(row)
        if latest is None:
            latest = Placement.objects.create(
                participant_id=participant_id, version=0, recorded_by="registration", **before
            )
        made = Placement.objects.create(
            participant_id=participant_id,
            version=latest.version + 1,
            recorded_by=actor,
            approved_by=approved_by,
            **read,
        )
        row.part_of_id, row.jurisdiction = read.get("part_of"), read.get("jurisdiction", "")
        row.save(update_fields=["part_of", "jurisdiction"])
        _note_version(
            participant_id, "placement", latest.version, made.version, actor, approved_by, placement=[before, read]
        )
    return int(made.version)


def _note_version(
    participant_id: str, what: str, before: int | None, now: int, actor: str, approved_by: str, **changed: Any
) -> None:
    DirectoryChange.objects.create(
        actor=f"{actor} and {approved_by}",
        participant_id=participant_id,
        kind=DirectoryChange.Kind.UPDATED,
        reason=f"{what} version {now}",
        changed={f"{what}_version": [before, now], **changed},
    )


def _stand(participant_id: str, status: Standing, kind: DirectoryChange.Kind, reason: str, actor: str) -> None:
    with transaction.atomic():
        hold_epoch()
        row = Participant.objects.select_for_update().filter(pk=participant_id).first()
        if row is None:
            raise UnknownParticipant(participant_id)
        before = row.status
        if before == Standing.TERMINATED or (before == status and status == Standing.ACTIVE):
            return
        if before == status and _at_the_desk(participant_id):
            return
        # One that a file suspended before is the desk's from now on.
        row.status = status.value
        row.save(update_fields=["status"])
        DirectoryChange.objects.create(
            actor=actor,
            participant_id=participant_id,
            kind=kind,
            reason=reason,
            changed={"status": [before, status.value]},
        )


def _at_the_desk(participant_id: str) -> bool:
    """Whether a suspension of the desk's stands."""
    told = [DirectoryChange.Kind.SUSPENDED, DirectoryChange.Kind.REINSTATED]
    last = DirectoryChange.objects.filter(participant_id=participant_id, kind__in=told).order_by("pk").last()
    return last is not None and last.kind == DirectoryChange.Kind.SUSPENDED


def _complete(form: Form, stored: Form | None, said: Form | None = None) -> Form:
    """Fill in what the file may leave out, so that the form compares with a stored one.

    `said`: what files said of members that two people have changed since: what is left out is that.
    """
    whole = {member: value for member, value in form.items() if value not in ("", [], None)}
    whole.setdefault("scopes", [])
    whole.setdefault("purposes", [])
    whole.setdefault("client_id", form["id"])
    whole.setdefault("status", stored["status"] if stored else Standing.ACTIVE.value)
    if "jurisdiction" not in whole and "part_of" not in whole:
        whole["jurisdiction"] = settings.HUB_JURISDICTION
    if stored and "source_trust" in stored:
        whole.setdefault("source_trust", stored["source_trust"])
    if whole.get("jwks") == {"keys": []}:
        del whole["jwks"]
    if "agreement" not in whole:
        known = said if said and "agreement" in said["governed"] else stored
        if known and "agreement" in known:
            whole["agreement"] = known["agreement"]
        elif "part_of" not in whole or whole["purposes"]:
            # An instant, not a date: "from now" must hold at once in every time zone.
            start = timezone.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            whole["agreement"] = {
                "status": Standing.ACTIVE.value,
                "period": {"start": start},
                "labels_documents": False,
                "decision_point": False,
                "obligations": [],
            }
    return whole


def _check_together(wanted: list[Form], stored: Mapping[str, Form]) -> list[Fault]:
    """What no participant may say alone: ids and addresses that are another's, parents, cycles."""
    faults: list[Fault] = []
    position: dict[str, int] = {}
    for index, form in enumerate(wanted):
        if form["id"] in position:
            faults.append(Fault(path=f"participants[{index}].id", message=f"{form['id']} stands twice in the file"))
        position[form["id"]] = index
    after = dict(stored) | {form["id"]: form for form in wanted}
    for member, value_of in _UNIQUE.items():
        holders: dict[Any, str] = {}
        # Those not in the file first, so that the fault is laid at the file's door.
        for participant_id in sorted(after, key=lambda key: position.get(key, -1)):
            for value in value_of(after[participant_id]):
                holder = holders.setdefault(value, participant_id)
                if holder != participant_id and participant_id in position:
                    path = f"participants[{position[participant_id]}].{member}"
                    faults.append(Fault(path=path, message=f"is already that of {holder}"))
    for form in wanted:
        path = f"participants[{position[form['id']]}]"
        if form.get("assigning_authority") == bare_oid(settings.HUB_ASSIGNING_AUTHORITY):
            faults.append(Fault(path=f"{path}.assigning_authority", message="is the hub's own authority"))
        if form.get("home_community_id") == f"urn:oid:{bare_oid(settings.HOME_COMMUNITY_ID)}":
            faults.append(Fault(path=f"{path}.home_community_id", message="is the hub's own community"))
        parent = form.get("part_of")
        if parent is not None and parent not in after:
            faults.append(Fault(path=f"{path}.part_of", message=f"{parent} is neither in the file nor registered"))
        elif parent is not None and _leads_back(form["id"], after):
            faults.append(Fault(path=f"{path}.part_of", message="leads back to itself"))
    return faults


def _said_by_files(ids: Collection[str], stored: Mapping[str, Form]) -> dict[str, Form]:
    """Of agreements and places that two people have put into force, what files said before; by participant.

    2 statements, where there are participants.
    """
    found: dict[str, Form] = {}
    if not ids:
        return found
    agreements: dict[str, list[Agreement]] = {}
    for row in Agreement.objects.filter(participant__in=ids).order_by("version"):
        agreements.setdefault(row.participant_id, []).append(row)
    for participant_id, rows in agreements.items():
        if any(row.approved_by for row in rows):
            before = [row for row in rows if not row.approved_by]
            found[participant_id] = (_agreed(before[-1]) if before else {"purposes": []}) | {
                "governed": ["agreement", "purposes"]
            }
    for placed in Placement.objects.filter(participant__in=ids, version=0).order_by("pk"):
        of = found.setdefault(placed.participant_id, {"governed": []})
        of["governed"] += ["part_of", "jurisdiction"]
        of |= {name: value for name in ("part_of", "jurisdiction") if (value := getattr(placed, name))}
    return found


_TOGETHER = (("agreement", "purposes"), ("part_of", "jurisdiction"))
"""Members that are put into force together."""


def _check_governed(wanted: list[Form], stored: Mapping[str, Form], said: Mapping[str, Form]) -> list[Fault]:
    """What two people have put into force, one file does not change: what it may say again is as it is in force."""
    faults = _check_released(wanted, stored) + _check_suspended(wanted, stored)
    for position, form in enumerate(wanted):
        of = said.get(form["id"], {})
        for members in _TOGETHER:
            if not set(members) <= set(of.get("governed", ())):
                continue
            now = stored[form["id"]]
            given = {member: form.get(member) for member in members}
            new = [member for member in members if given[member] not in (of.get(member), now.get(member))]
            if new:
                member, what = new[0], "agreement" if members[0] == "agreement" else "place"
                message = f"the {what} was put into force by two people: propose the change among the policies of the administrators' desk"
                faults.append(Fault(path=f"participants[{position}].{member}", message=message))
                continue
            for member in members:
                form.pop(member, None)
                if member in now:
                    form[member] = now[member]
    return faults


def _check_suspended(wanted: list[Form], stored: Mapping[str, Form]) -> list[Fault]:
    """Whom somebody at the desk suspended no file lets in again: that takes two people."""
    lifted = {
        form["id"]: position
        for position, form in enumerate(wanted)
        if form["status"] == Standing.ACTIVE and stored.get(form["id"], form)["status"] != Standing.ACTIVE
    }
    if not lifted:
        return []
    # Whatever files have said since: they neither end the desk's suspension nor make it one of their own.
    told = Q(kind__in=[DirectoryChange.Kind.SUSPENDED, DirectoryChange.Kind.REINSTATED])
    rows = DirectoryChange.objects.filter(told, participant_id__in=lifted).order_by("pk")
    last = {row.participant_id: row.kind for row in rows}
    return [
        Fault(
            path=f"participants[{position}].status",
            message="was suspended at the administrators' desk: its reinstatement is proposed there, and takes two people",
        )
        for participant_id, position in lifted.items()
        if last.get(participant_id) == DirectoryChange.Kind.SUSPENDED
    ]


def _check_released(wanted: list[Form], stored: Mapping[str, Form]) -> list[Fault]:
    """As `_check_governed`, for release policies: what files said of them stands on the participant's own row."""
    changed = {
        form["id"]: position
        for position, form in enumerate(wanted)
        if form["id"] in stored and form.get("release_policy", []) != stored[form["id"]].get("release_policy", [])
    }
    held = ReleasePolicy.objects.filter(participant__in=changed)
    governed = set(held.exclude(approved_by="").values_list("participant_id", flat=True)) if changed else set()
    newest = {row.participant_id: row for row in held.order_by("version")} if governed else {}
    return [
        Fault(
            path=f"participants[{position}].release_policy",
            message=f"was put into force by two people (version {newest[participant_id].version}): "
            "propose the change among the policies of the administrators' desk",
        )
        for participant_id, position in changed.items()
        if participant_id in governed and wanted[position].get("release_policy", []) != newest[participant_id].rules
    ]


_UNIQUE: dict[str, Any] = {
    "organization_oid": lambda form: [form["organization_oid"]],
    "client_id": lambda form: [form["client_id"]],
    "assigning_authority": lambda form: [form["assigning_authority"]] if "assigning_authority" in form else [],
    "home_community_id": lambda form: [form["home_community_id"]] if "home_community_id" in form else [],
    "source_id": lambda form: [form["source_id"]] if "source_id" in form else [],
    "hl7v2": lambda form: [tuple(sorted(form["hl7v2"].items()))] if "hl7v2" in form else [],
    "certificates": lambda form: form.get("certificates", []),
}


def _leads_back(participant_id: str, forms: Mapping[str, Form]) -> bool:
    seen: set[str] = set()
    current: str | None = participant_id
    while current in forms and current is not None:
        if current in seen:
            return True
        seen.add(current)
        current = forms[current].get("part_of")
    return False


def _store(form: Form, stored: Form | None, actor: str, approved_by: str = "") -> tuple[Result, str]:
    participant_id = form["id"]
    members = sorted(set(form) | set(stored or {}))
    changed = {
        member: [(stored or {}).get(member), form.get(member)]
        for member in members
        if (stored or {}).get(member) != form.get(member)
    }
    if stored is not None and not changed:
        return "unchanged", participant_id
    sender = form.get("hl7v2", {})
    row = Participant(
        id=participant_id,
        part_of_id=form.get("part_of"),
        scopes=form["scopes"],
        part2_program=form.get("part2_program"),
        requires_relationship=form.get("requires_relationship"),
        source_trust=form.get("source_trust"),
        hl7v2_application=sender.get("application", ""),
        hl7v2_facility=sender.get("facility", ""),
        release_policy=form.get("release_policy", []),
        **{member: form.get(member, "") for member in _ROW_TEXTS},
    )
    if stored is None:
        row.save(force_insert=True)
    else:
        row.save(
            force_update=True,
            # Limits and the day of registration are not the file's to change.
            update_fields=[
                *_ROW_TEXTS,
                *("part_of", "scopes", "part2_program", "requires_relationship", "source_trust"),
                *("hl7v2_application", "hl7v2_facility", "release_policy"),
            ],
        )
    _store_children(form, changed, actor, approved_by)
    if "release_policy" in changed and not _says_again(participant_id, form):
        # What a file says anew counts from now on, whatever was in effect before.
        _release(participant_id, form.get("release_policy", []), timezone.now(), actor)
    DirectoryChange.objects.create(
        actor=actor,
        participant_id=participant_id,
        kind=DirectoryChange.Kind.UPDATED if stored else DirectoryChange.Kind.CREATED,
        changed=changed,
    )
    return ("updated" if stored else "created"), participant_id


def _says_again(participant_id: str, form: Form) -> bool:
    """Whether the file says what two people have put into force: that stays the version it is."""
    newest = ReleasePolicy.objects.filter(participant_id=participant_id).order_by("-version").first()
    return newest is not None and bool(newest.approved_by) and newest.rules == form.get("release_policy", [])


def _store_children(form: Form, changed: Mapping[str, Any], actor: str, approved_by: str) -> None:
    participant_id = form["id"]
    if ("agreement" in changed or "purposes" in changed) and "agreement" in form:
        _agree(participant_id, {**form["agreement"], "purposes": form["purposes"]}, actor, approved_by)
    if "assigning_authority" in changed:
        AssigningAuthority.objects.filter(participant_id=participant_id).delete()
        if "assigning_authority" in form:
            AssigningAuthority.objects.create(oid=form["assigning_authority"], participant_id=participant_id)
    if "jwks" in changed:
        ClientKey.objects.filter(participant_id=participant_id).delete()
        rows = []
        for jwk in form.get("jwks", {}).get("keys", []):
            not_before, expires = keys.validity(jwk)
            rows.append(
                ClientKey(
                    participant_id=participant_id, kid=jwk["kid"], jwk=jwk, not_before=not_before, expires=expires
                )
            )
        ClientKey.objects.bulk_create(rows)
    if "certificates" in changed:
        Certificate.objects.filter(participant_id=participant_id).delete()
        facts = [keys.read_certificate(pem) for pem in form.get("certificates", [])]
        Certificate.objects.bulk_create(
            Certificate(
                participant_id=participant_id,
                pem=one.pem,
                thumbprint=one.thumbprint,
                not_before=one.not_before,
                expires=one.expires,
            )
            for one in facts
        )
    if "endpoints" in changed:
        Endpoint.objects.filter(participant_id=participant_id).delete()
        Endpoint.objects.bulk_create(
            Endpoint(
                participant_id=participant_id,
                kind=one["kind"],
                url=one["url"],
                repository_unique_id=one.get("repository_unique_id", ""),
            )
            for one in form.get("endpoints", [])
        )
    if "users" in changed:
        Practitioner.objects.filter(participant_id=participant_id).delete()
        Practitioner.objects.bulk_create(
            Practitioner(
                participant_id=participant_id,
                user_id=one["id"],
                name=one["name"],
                role=one["role"],
                purposes=one.get("purposes", []),
            )
            for one in form.get("users", [])
        )


def _agreed(row: Agreement) -> Form:
    """An agreement and its purposes as members of a participants file."""
    return {
        "purposes": list(row.purposes),
        "agreement": {
            "status": row.status,
            "period": {"start": row.start} | ({"end": row.end} if row.end else {}),
            "labels_documents": row.labels_documents,
            "decision_point": row.decision_point,
            "obligations": list(row.obligations),
        },
    }


def agreement_form(row: Agreement) -> Form:
    """An agreement with its purposes, in the form that `agree` takes."""
    found = _agreed(row)
    return {**found["agreement"], "purposes": found["purposes"]}


def _form(row: Participant) -> Form:
    form: Form = {"id": row.pk}
    for member in _ROW_TEXTS:
        if value := getattr(row, member):
            form[member] = value
    if row.part_of_id:
        form["part_of"] = row.part_of_id
    authorities = sorted(authority.oid for authority in row.authorities.all())
    if authorities:
        form["assigning_authority"] = authorities[0]
    jwks = [key.jwk for key in sorted(row.keys.all(), key=lambda key: key.kid)]
    if jwks:
        form["jwks"] = {"keys": jwks}
    certificates = [certificate.pem for certificate in sorted(row.certificates.all(), key=lambda one: one.pk)]
    if certificates:
        form["certificates"] = certificates
    form["scopes"] = list(row.scopes)
    agreement = max(row.agreements.all(), key=lambda one: one.version, default=None)
    form |= _agreed(agreement) if agreement else {"purposes": []}
    for flag in ("part2_program", "requires_relationship", "source_trust"):
        if (value := getattr(row, flag)) is not None:
            form[flag] = value
    if row.hl7v2_application:
        form["hl7v2"] = {"application": row.hl7v2_application, "facility": row.hl7v2_facility}
    endpoints = [
        {"kind": one.kind, "url": one.url}
        | ({"repository_unique_id": one.repository_unique_id} if one.repository_unique_id else {})
        for one in sorted(row.endpoints.all(), key=lambda one: one.pk)
    ]
    if endpoints:
        form["endpoints"] = endpoints
    users = [
        {"id": one.user_id, "name": one.name, "role": one.role}
        | ({"purposes": list(one.purposes)} if one.purposes else {})
        for one in sorted(row.users.all(), key=lambda one: one.pk)
    ]
    if users:
        form["users"] = users
    if row.release_policy:
        form["release_policy"] = row.release_policy
    return form
