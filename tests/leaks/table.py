"""The leak table: every way out of the hub, and what keeps from leaving what may not.

Each entry names the function that guards the way (it must exist, the way must reach it, and it must reach
`hie.exchange.access`), or says why nothing of a patient leaves there. A new way without an
entry fails `test_every_way_out_is_listed.py`. Source: spec/consent.md 1.1.

Accepted residue, known and kept:

* who guesses another's uniqueId learns it by `XDSNonIdenticalHash` (spec/consent.md 6);
* time, beyond what one answer for hidden and absent evens out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guarded:
    """The way goes through this function of the exchange."""

    by: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing of a patient leaves here, and why: no record is read on the way."""

    why: str


@dataclass(frozen=True, slots=True)
class Within:
    """Records are read here and nothing of them is given out, and why."""

    why: str


Entry = Guarded | Nothing | Within

_STAFF = Guarded("hie.exchange.administrative.administrative")
_FEED = Guarded("hie.exchange.feed.apply")
_POLICY = Within("policy, and how often which rule decides; ids of events, no patient and no document")
_JOINING = Nothing(
    "what an organization says of itself before it takes part; samples are of invented people and not kept"
)
_FIGURES = Within("sums over a period; nothing about fewer than eleven people: tests/exchange/test_small_cells.py")
_SIGNED_IN = Within("pages of the account itself; everything of a patient is behind its own page")

URLS: Mapping[str, Entry] = {
    "fhir": Guarded("hie.exchange.submit.submit"),
    "fhir/": Guarded("hie.exchange.submit.submit"),
    "fhir/<path:path>": Guarded("hie.exchange.find.find_documents"),
    "xds/registry": Guarded("hie.exchange.submit.receive"),
    "xds/repository": Guarded("hie.exchange.submit.receive"),
    "pix": Guarded("hie.exchange.submit.receive"),
    "xds/schema/<path:path>": Nothing("schemas of IHE and OASIS"),
    "oauth/token": Nothing("tokens and refusals; a refusal names the reason, nobody's data"),
    "oauth/introspect": Nothing("a caller's own token"),
    "oauth/jwks": Nothing("public keys"),
    ".well-known/oauth-authorization-server": Nothing("a public document"),
    "api/schema": Nothing("the form of requests and answers"),
    "api/queries": Guarded("hie.exchange.query.ask"),
    "api/queries/<uuid:query_id>": Guarded("hie.exchange.query_answers.view"),
    "api/queries/<uuid:query_id>/events": Guarded("hie.exchange.query_answers.changes"),
    "api/patients/imports": Guarded("hie.exchange.imports.begin"),
    "api/patients/imports/<uuid:import_id>": Guarded("hie.exchange.imports.view"),
    "api/patients/imports/<uuid:import_id>/links": Guarded("hie.exchange.imports.lines"),
    "api/patients/imports/<uuid:import_id>/refused": Guarded("hie.exchange.imports.lines"),
    "api/patients/activation-codes": Guarded("hie.exchange.activation.issue"),
    "api/identities/merges": Guarded("hie.exchange.identity_changes.merge"),
    "api/identities/unmerges": Guarded("hie.exchange.identity_changes.unmerge"),
    "api/identities/links": Guarded("hie.exchange.identity_changes.link"),
    "api/identities/unlinks": Guarded("hie.exchange.identity_changes.unlink"),
    "api/identities/splits": Guarded("hie.exchange.identity_changes.split"),
    "api/identities/events/<uuid:event_id>/undo": Guarded("hie.exchange.identity_changes.undo"),
    "api/identities/history": Guarded("hie.exchange.identity_changes.who_was"),
    "api/break-glass": Guarded("hie.exchange.emergency.declare"),
    "api/break-glass/leaves": Within("who allowed whom one emergency more; no patient is named or asked for"),
    "api/break-glass/cases": Within("what a participant answers for: its own users and their words, no patient"),
    "api/break-glass/cases/<uuid:grant_id>/answer": Within("as api/break-glass/cases"),
    "api/concerns": Guarded("hie.exchange.concern_answers.cases"),
    "api/concerns/<str:number>/answer": Guarded("hie.exchange.concern_answers.answer"),
    "api/participants/self/figures": Guarded("hie.exchange.own_figures.of_caller"),
    "api/audit/<uuid:event_id>/proof": Guarded("hie.exchange.audit_search.proof"),
    "api/decisions/<uuid:decision_id>/explain": Guarded("hie.exchange.explained.explain_decision"),
    "api/documents/<uuid:document_id>/who-could-see": Guarded("hie.exchange.who_could_see.for_patient"),
    "checkpoints": Nothing("signed hashes of the log"),
    "^checkpoints/(?P<size>[0-9]+|latest)$": Nothing("signed hashes of the log"),
    "consent/cds-services": Nothing("the description of the service"),
    "consent/cds-services/patient-consent-consult": Guarded("hie.exchange.decisions.decide"),
    "consent/xacml": Guarded("hie.exchange.decisions.decide"),
    "consent/^.*$": Nothing("one constant answer"),
    "api/^.*$": Nothing("one constant answer"),
    "my": Nothing("sends on to my/"),
    "figures": Nothing("sends on to figures/"),
    "figures/": Nothing("rounded sums of calendar months, as they were published"),
    "admin": Nothing("sends on to admin/"),
    "my/": Guarded("hie.exchange.access_log.log_for_patient"),
    "my/log.csv": Guarded("hie.exchange.access_log.log_for_patient"),
    "my/log.json": Guarded("hie.exchange.access_log.log_for_patient"),
    "my/log.pdf": Guarded("hie.exchange.access_log.log_for_patient"),
    "my/log/<uuid:event_id>": Guarded("hie.exchange.access_log.log_for_patient"),
    "my/log/<uuid:event_id>/proof": Guarded("hie.exchange.audit_search.proofs"),
    "my/log/<uuid:event_id>/proof.json": Guarded("hie.exchange.audit_search.proofs"),
    "my/accounting": Guarded("hie.exchange.accounting.accounting"),
    "my/accounting.csv": Guarded("hie.exchange.accounting.accounting"),
    "my/accounting.pdf": Guarded("hie.exchange.accounting.accounting"),
    "my/verifier": Within("the program that checks a proof, the same for all; its frame could show an error page"),
    "my/log/<uuid:event_id>/concern": Guarded("hie.exchange.concerns.doubted"),
    "my/concerns": Guarded("hie.exchange.concerns.listed"),
    "my/concerns/<str:number>": Guarded("hie.exchange.concerns.read"),
    "my/concerns/<str:number>/say": Guarded("hie.exchange.concerns.say"),
    "my/notices": Guarded("hie.exchange.patient_notices._told"),
    "my/notices/choose": Guarded("hie.exchange.patient_notices._told"),
    "my/notices/read": _SIGNED_IN,
    "my/notices/address/<str:token>": Within("an account's own address, by a secret sent there; nothing of a record"),
    "my/notices/end/<str:token>": Within("as my/notices/address/<str:token>"),
    "my/documents": Guarded("hie.exchange.find.find_documents"),
    "my/documents/all.zip": Guarded("hie.exchange.find.find_documents"),
    "my/documents/<uuid:entry_id>": Guarded("hie.exchange.retrieve.retrieve"),
    "my/documents/<uuid:entry_id>/open": Guarded("hie.exchange.retrieve.retrieve"),
    "my/documents/<uuid:entry_id>/part/<int:number>": Guarded("hie.exchange.retrieve.retrieve"),
    "my/documents/<uuid:entry_id>/file": Guarded("hie.exchange.retrieve.retrieve"),
    "my/documents/<uuid:entry_id>/who": Guarded("hie.exchange.who_could_see.for_patient"),
    "my/consent/": Guarded("hie.exchange.choices.overview"),
    "my/consent/check": Guarded("hie.exchange.choices.preview"),
    "my/consent/save": Guarded("hie.exchange.choices.save"),
    "my/consent/history": Guarded("hie.exchange.choices.history"),
    "my/emergencies": Guarded("hie.exchange.emergency.notices"),
    "my/emergencies/<int:number>/object": Guarded("hie.exchange.emergency.object_to"),
    "my/helpers": Guarded("hie.exchange.helpers.of_patient"),
    "my/helpers/code": Guarded("hie.exchange.helpers.make_code"),
    "my/helpers/name": Guarded("hie.exchange.helpers.nominate"),
    "my/alive": Guarded("hie.exchange.deaths.object_to"),
    "my/helpers/<uuid:grant_id>/end": Guarded("hie.exchange.helpers.end"),
    "my/help": Within("fixed text, under the name of whom the reader acts for"),
    "my/sign-in": _SIGNED_IN,
    "my/sign-in/app": _SIGNED_IN,
    "my/sign-in/app.svg": _SIGNED_IN,
    "my/sign-in/help": Within("fixed text"),
    "my/first-visit": Guarded("hie.exchange.activation.check"),
    "my/first-visit/account": Guarded("hie.exchange.activation.opening"),
    "my/welcome": _SIGNED_IN,
    "my/account": _SIGNED_IN,
    "my/account/confirm": _SIGNED_IN,
    "my/account/app": _SIGNED_IN,
    "my/account/app.svg": _SIGNED_IN,
    "my/account/app/off": _SIGNED_IN,
    "my/account/codes": _SIGNED_IN,
    "my/account/password": _SIGNED_IN,
    "my/account/sessions/end": _SIGNED_IN,
    "my/account/sessions/<uuid:session_id>/end": _SIGNED_IN,
    "my/account/stay": _SIGNED_IN,
    "my/account/provider": _SIGNED_IN,
    "my/account/provider/off": _SIGNED_IN,
    "my/sign-in/provider": _SIGNED_IN,
    "my/sign-in/provider/back": Guarded("hie.exchange.activation.opening"),
    "my/first-visit/provider": Guarded("hie.exchange.activation.opening"),
    "my/account/passkeys": _SIGNED_IN,
    "my/account/passkeys/<int:passkey_id>/off": _SIGNED_IN,
    "my/sign-in/passkey": _SIGNED_IN,
    "my/sign-in/code": _SIGNED_IN,
    "my/sign-out": _SIGNED_IN,
    "my/person": _SIGNED_IN,
    "my/language": _SIGNED_IN,
    "my/^(?P<path>.+)$": Nothing("one constant answer"),
    "join": Nothing("a redirect"),
    "join/": _JOINING,
    "join/leave": _JOINING,
    "join/report.json": _JOINING,
    "join/<slug:key>": _JOINING,
    "healthz": Nothing("up or down"),
    "readyz": Nothing("up or down, by service"),
    "metrics": Nothing("counts of the whole hub"),
    "admin/search/": Nothing("names of pages and models the member of staff may open, not their rows"),
    "admin/": Nothing("the list of pages"),
    "admin/find/": _STAFF,
    "admin/login/": Nothing("the form"),
    "admin/logout/": Nothing("the form"),
    "admin/second-factor/": Nothing("the member of staff's own app and codes"),
    "admin/account/": Nothing("the member of staff's own ways in, sessions, and what was done to the account"),
    "admin/account/passkeys/": Nothing("the member of staff's own passkeys"),
    "admin/account/stay/": Nothing("a constant page"),
    "admin/provider/": Nothing("to the provider of staff"),
    "admin/provider/back/": Nothing("from there to the second factor"),
    "admin/second-factor/code.svg": Nothing("the key of the member of staff's own app, while it is set up"),
    "admin/password_change/": Nothing("the form"),
    "admin/password_change/done/": Nothing("a constant page"),
    "admin/patients/reviewitem/done/": Within("numbers of cases, verdicts and stewards; nobody's name, no reason"),
    "admin/patients/reviewitem/figures/": Within("counts of the whole hub"),
    "admin/figures/": _FIGURES,
    "admin/figures/answers/": _FIGURES,
    "admin/figures/matching/": _FIGURES,
    "admin/figures/choices/": _FIGURES,
    "admin/figures/feeds/": _FIGURES,
    "admin/figures/participants/<str:participant_id>/": Within(
        "as the participant reads it itself by api/participants/self/figures, which is walked"
    ),
    "admin/patients/person/<uuid:person_id>/by-hand/": _STAFF,
    "admin/patients/person/find/": _STAFF,
    "admin/patients/person/<uuid:person_id>/identity/": _STAFF,
    "admin/patients/person/<uuid:person_id>/split/": _STAFF,
    "admin/patients/person/<uuid:person_id>/join/<uuid:other_id>/": _STAFF,
    "admin/patients/person/<uuid:person_id>/why/": _STAFF,
    "admin/documents/documententry/<uuid:entry_uuid>/why/": Guarded("hie.exchange.why_document.not_shown"),
    "admin/documents/documententry/missing/": Guarded("hie.exchange.why_document.missing"),
    "admin/exchange/inboundmessage/missing/": Within("when messages came, and from whom; nothing that they say"),
    "admin/exchange/inboundmessage/replay/": Within(
        "what a message would change, by the names of parts; no patient and no value"
    ),
    "admin/exchange/inboundmessage/replay/<uuid:run_id>/": Within("as the look ahead"),
    "admin/directory/participant/<str:participant_id>/why/": Within(
        "what an organization lacks, and counts of what it was refused; no patient"
    ),
    "admin/consent/consent/<uuid:consent_id>/end/": Guarded("hie.exchange.consents.end"),
    "admin/consent/consent/<uuid:consent_id>/what-if/": Guarded("hie.exchange.what_if.compare_for_staff"),
    "admin/documents/documententry/<uuid:entry_uuid>/who-could-see/": Guarded("hie.exchange.who_could_see.for_staff"),
    "admin/audit/auditevent/<uuid:event_id>/explain/": Guarded("hie.exchange.explained.explain_for_staff"),
    "admin/consent/policyproposal/propose/": _POLICY,
    "admin/consent/policyproposal/<uuid:proposal_id>/decide/": _POLICY,
    "admin/consent/legalhold/place/": Within("takes an id in; whether there is such a person, for the privacy officer"),
    "admin/directory/onboarding/invite/": _JOINING,
    "admin/directory/publicholiday/<int:pk>/out/": Nothing("days of a place"),
    "admin/directory/onboarding/<uuid:onboarding_id>/report.json": _JOINING,
    "admin/tasks/<slug:queue>/": Within("numbers of things that wait, their causes and organizations; nobody's name"),
    "admin/tasks/<slug:queue>/<path:key>/": _STAFF,
    "admin/trust/activationcode/give/": Guarded("hie.exchange.activation.issue_at_desk"),
    "admin/consent/proxygrant/give/": Guarded("hie.exchange.helpers.give"),
    "admin/consent/proxygrant/<uuid:grant_id>/status/": Guarded("hie.exchange.helpers.set_status"),
    "admin/jsi18n/": Nothing("words of the interface"),
    "admin/r/<path:content_type_id>/<path:object_id>/": Nothing("a redirect; no model of ours has an absolute URL"),
    "admin/autocomplete/": Nothing("no field that names a patient is searched there: see test_admin.py"),
    "admin/auth/user/<id>/password/": Nothing("staff"),
    "admin/^(?P<app_label>*)/$": Nothing("the list of pages of one app"),
    "admin/(?P<url>.*)$": Nothing("a redirect or a constant 404"),
}

FHIR: Mapping[str, Entry] = {
    "transaction": Guarded("hie.exchange.submit.submit"),
    "AuditEvent read": Guarded("hie.exchange.audit_search.search_events"),
    "AuditEvent search": Guarded("hie.exchange.audit_search.search_events"),
    "Binary read": Guarded("hie.exchange.retrieve.retrieve"),
    "Binary vread": Guarded("hie.exchange.retrieve.retrieve"),
    "Binary create": Guarded("hie.exchange.submit.stage"),
    "Consent read": Guarded("hie.exchange.consents.read"),
    "Consent vread": Guarded("hie.exchange.consents.read"),
    "Consent history": Guarded("hie.exchange.consents.history"),
    "Consent search": Guarded("hie.exchange.consents.search"),
    "Consent create": Guarded("hie.exchange.consents.file"),
    "Consent update": Guarded("hie.exchange.consents.change"),
    "Consent $consent-decision": Guarded("hie.exchange.decisions.decide"),
    "Consent $validate": Guarded("hie.exchange.consents.check"),
    "DocumentReference read": Guarded("hie.exchange.find.read_document"),
    "DocumentReference vread": Guarded("hie.exchange.find.read_document"),
    "DocumentReference search": Guarded("hie.exchange.find.find_documents"),
    "DocumentReference create": Guarded("hie.exchange.submit.submit"),
    "List read": Guarded("hie.exchange.document_lists.read_list"),
    "List vread": Guarded("hie.exchange.document_lists.read_list"),
    "List search": Guarded("hie.exchange.document_lists.find_lists"),
    "$process-message": _FEED,
    "Subscription read": Guarded("hie.exchange.subscriptions.read"),
    "Subscription search": Guarded("hie.exchange.subscriptions.owned"),
    "Subscription create": Guarded("hie.exchange.subscriptions.subscribe"),
    "Subscription update": Guarded("hie.exchange.subscriptions.change"),
    "Subscription delete": Guarded("hie.exchange.subscriptions.end"),
    "Patient read": Guarded("hie.exchange.identity.read_patient"),
    "Patient vread": Guarded("hie.exchange.identity.read_patient"),
    "Patient search": Guarded("hie.exchange.identity.find_patients"),
    "Patient conditional_update": Guarded("hie.exchange.feed.feed"),
    "Patient conditional_delete": Guarded("hie.exchange.feed.remove"),
    "Patient $match": Guarded("hie.exchange.identity.match"),
    "Patient $ihe-pix": Guarded("hie.exchange.identity.cross_reference"),
}

XDS: Mapping[str, Entry] = {
    **dict.fromkeys(("PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02"), _FEED),
    "DeleteDocumentSet": Guarded("hie.exchange.remove.remove_metadata"),
    "MultiPatientStoredQuery": Guarded("hie.exchange.stored_query.ask"),
    "ProvideAndRegisterDocumentSet-b": Guarded("hie.exchange.submit.submit"),
    "RegisterDocumentSet-b": Guarded("hie.exchange.submit.submit"),
    "RegisterOnDemandDocumentEntry": Guarded("hie.exchange.submit.submit"),
    "RegistryStoredQuery": Guarded("hie.exchange.stored_query.ask"),
    "RemoveDocuments": Guarded("hie.exchange.remove.remove_documents"),
    "RestrictedUpdateDocumentSet": Guarded("hie.exchange.update.update"),
    "RetrieveDocumentSet": Guarded("hie.exchange.retrieve._retrieve_set"),
    "UpdateDocumentSet": Guarded("hie.exchange.update.update"),
}

HL7V2: Mapping[str, Entry] = {
    **{
        f"ADT^{event}": _FEED for event in ("A01", "A04", "A05", "A08", "A24", "A28", "A31", "A37", "A40", "A43", "A47")
    },
    "QBP^Q22": Guarded("hie.exchange.identity.find_patients"),
    "QBP^Q23": Guarded("hie.exchange.identity.cross_reference"),
    "QCN^J01": Within("an acknowledgement without content; the handler reads for the other events"),
}

TASKS: Mapping[str, Entry] = {
    "exchange.run_query": Guarded("hie.exchange.access.questions"),
    "exchange.deliver_notices": Guarded("hie.exchange.notices.change_for"),
    "exchange.remove_old": Within("counts of what was removed, by kind and time; nothing of it is given out"),
    "exchange.expire_queries": Within("a count"),
    "exchange.carry_on_imports": Within("takes files in; what became of their lines is told by hie.exchange.imports"),
    "trust.clear_sessions": Nothing("removes what has ended"),
    "trust.seal_secrets": Nothing("a count of secrets sealed anew"),
    "exchange.rewrap_messages": Within("a count of messages wrapped anew"),
    "exchange.tell_patients": Within("a count; what the patient is told, the portal shows through its own guard"),
    "exchange.escalate_emergencies": Within("a count"),
    "exchange.pass_on_concerns": Within("a count"),
    "exchange.find_patient_notices": Within("a count; what is told, the portal shows through its own guard"),
    "exchange.send_mails": Guarded("hie.exchange.patient_notices._to_mail"),
    "exchange.replay_decisions": Within("counts of records decided again; ids of events in the hub's own log"),
    "exchange.tell_of_majority": Within("a count; what is told stands in the patient's log"),
    "exchange.tell_audit_receiver": Within("the log, to the operator's own audit repository; a count"),
    "exchange.roll_up_figures": Within("a count of rows counted"),
    "exchange.relabel_documents": Within("labels of registered documents; a count of those looked at"),
    "documents.tasks.rotate": Within("a count of keys wrapped anew"),
    "patients.tasks.train_model": Within("weights of the scorer, from the whole index"),
    "patients.tasks.recluster": Within("links inside the index"),
    "patients.tasks.settle_trust": Within("golden records inside the index"),
    "trust.forget_ended_assertions": Nothing("a count"),
}

ADMIN: Mapping[str, Entry] = {
    **dict.fromkeys(
        (
            "audit.AuditEvent",
            "audit.Disclosure",
            "patients.Person",
            "patients.SourceRecord",
            "patients.ReviewItem",
            "patients.IdentityEvent",
            "patients.MatchDecision",
            "documents.DocumentEntry",
            "documents.ReviewItem",
            "documents.SubmissionSet",
            "documents.Folder",
            "consent.Consent",
            "consent.ConsentVersion",
            "consent.ProxyGrant",
            "consent.BreakGlassGrant",
            "consent.EmergencyReview",
            "exchange.Concern",
            "exchange.DeathObjection",
            "exchange.Query",
            "exchange.RemoteDocument",
        ),
        _STAFF,
    ),
    "directory.Participant": Within(
        "participants and their keys; of the log counts of what one was refused, no patient"
    ),
    **{
        label: Nothing("participants and their keys, no patient")
        for label in (
            "directory.DirectoryChange",
            "directory.Agreement",
            "directory.Endpoint",
            "directory.ClientKey",
            "directory.Certificate",
            "directory.Onboarding",
            "trust.UsedAssertion",
            "trust.StaffAffiliation",
        )
    },
    "audit.AuditSeal": Nothing("digests"),
    "audit.Checkpoint": Nothing("digests and signatures"),
    "outbox.OutboxMessage": Nothing("topic, state and ids of objects, no content"),
    "terminology.CodeSet": Nothing("code tables"),
    "terminology.Code": Nothing("code tables"),
    "patients.MatchModel": Nothing("weights"),
    "patients.ImportRun": Nothing("counts"),
    "documents.Association": Nothing("ids of objects and the kind of their relation"),
    "documents.Blob": Nothing("digests and sizes; never bytes"),
    "documents.LabelRun": Within("counts"),
    "consent.Jurisdiction": Nothing("policy"),
    "consent.CodeTable": Nothing("policy"),
    "consent.PolicyProposal": _POLICY,
    "consent.RetentionRun": Within("how long things are kept, and counts of what was removed"),
    "consent.LegalHold": Within("ids of persons, documents and organizations that must stay; of none of them anything"),
    "directory.ReleasePolicy": Nothing("policy"),
    "directory.Placement": Nothing("policy"),
    "directory.PublicHoliday": Nothing("days of a place"),
    "exchange.InboundMessage": Within("envelope and outcome; the message itself stays encrypted"),
    "auth.User": Nothing("staff"),
    "trust.ActivationCode": Within("which organization let somebody in, and when; never whom"),
}

COMMANDS: Mapping[str, Entry] = {
    "accounts": Within("takes a file in"),
    "affinity_domain": Nothing("code tables"),
    "audit_fill": Nothing("puts made-up events into a log to measure; gives back a count"),
    "audit_append": Nothing("appends made-up events to measure; gives back times"),
    "audit_export": Nothing("the operator's own shell; the export is written to a file and recorded as an event"),
    "audit_sealer": Nothing("digests"),
    "carry_on_imports": Within("takes files in"),
    "consent_cost": Within("times; never what was found"),
    "decide": Nothing("decisions on the cases of a file given; opens no database"),
    "documents_fill": Nothing("puts copies of one made-up document into a registry to measure; gives back a count"),
    "import_patients": Within("takes a file in; gives back its own rows' numbers"),
    "jurisdictions": Within("policy; a proposal comes with counts of recorded decisions, by rule"),
    "links": Nothing("the operator's own shell: local identifiers and person ids, for the index's accuracy tests"),
    "match_model": Within("names persons by their ids to the operator, never what is known of them"),
    "match_pairs": Nothing("scores on the rows of a file given; stores nothing"),
    "measure_match": Within("times; never who was found"),
    "mllp": _FEED,
    "participants": Nothing("participants"),
    "prepare": Nothing("makes the place ready"),
    "rotate_keys": Within("counts"),
    "rotate_signing_keys": Nothing("public keys"),
    "verify_audit": Nothing("positions of what does not fit; no content"),
}

ACTIONS: Mapping[str, Entry] = {
    **dict.fromkeys(
        (
            "audit.AuditEvent > audit.Disclosure",
            "patients.Person > patients.Link",
            "patients.Person > patients.IdentityEvent",
            "patients.SourceRecord > patients.PatientIdentifier",
            "documents.DocumentEntry > documents.EntryCode",
            "documents.DocumentEntry > documents.LabelAssignment",
        ),
        _STAFF,
    ),
    **{
        f"directory.Participant {name}": Nothing("participants and their keys, no patient")
        for name in ("suspend", "reinstate")
    },
    **{
        f"directory.Participant > directory.{model}": Within("a part of the participant's page")
        for model in (
            "Agreement",
            "Endpoint",
            "ClientKey",
            "Certificate",
            "AssigningAuthority",
            "Practitioner",
            "Facility",
        )
    },
    "auth.User new_factor": Nothing("staff"),
    "exchange.InboundMessage replay": Within("hands messages to their handlers again; the names of parts that change"),
    "terminology.CodeSet > terminology.Code": Nothing("code tables"),
    "terminology.CodeSet > terminology.CodeSetVersion": Nothing("code tables"),
    "delete_selected": Nothing("names rows that the member of staff may see and delete: of no patient's table any"),
}

CHANNELS: Mapping[str, Entry] = {
    "notice mllp": Nothing("writes and sends what `hie.exchange.notices` has decided; reads nothing"),
    "notice subscription": Nothing("as the other"),
    **{
        f"outbox {topic}": Nothing("a row with ids, for a task that goes its own way")
        for topic in ("documents", "patients", "consent", "emergency", "access", "queries", "identities", "mail")
    },
    "source hie.exchange.remote_retrieve.source": Guarded("hie.exchange.remote_retrieve._release"),
}

HELD_ELSEWHERE: Mapping[str, str] = {
    "hie.exchange.retrieve.retrieve": "its parts are: `_local` for what is kept here, `remote_retrieve._release` for the rest",
    "hie.exchange.notices.change_for": "`notices._prepare` is, which records and releases what this decides",
    "hie.exchange.access.questions": "`query.ask` is, which discloses the question; the loop asks again what waited",
    "hie.exchange.administrative.administrative": "the hub's own staff, whom neither consent nor suspension concerns",
    "hie.exchange.consents.end": "the hub's own staff",
    "hie.exchange.what_if.compare_for_staff": "the hub's own staff",
    "hie.exchange.who_could_see.for_staff": "the hub's own staff",
    "hie.exchange.explained.explain_for_staff": "the hub's own staff",
    "hie.exchange.why_document.not_shown": "the hub's own staff",
    "hie.exchange.why_document.missing": "the hub's own staff",
    "hie.exchange.helpers.give": "the hub's own staff",
    "hie.exchange.activation.issue_at_desk": "the hub's own staff",
    **dict.fromkeys(
        ("hie.exchange.activation.check", "hie.exchange.activation.opening"),
        "the way in, which shows the patient's own name to who has her code and date of birth; each page then decides",
    ),
    "hie.exchange.helpers.set_status": "the hub's own staff",
    "hie.exchange.patient_notices._to_mail": "a mail says that something happened and not what; the door is asked as it is sent",
    "hie.exchange.submit.stage": "takes bytes in; gives back their name",
    "hie.exchange.submit.receive": "takes bytes in, of a message; `submit.submit` says what became of them",
    "hie.exchange.feed.apply": "takes in; gives back what the feeder's own record became",
    "hie.exchange.feed.feed": "as `feed.apply`",
    "hie.exchange.feed.remove": "as `feed.apply`",
    "hie.exchange.imports.begin": "takes a file in",
    "hie.exchange.imports.view": "counts of the asker's own run",
    "hie.exchange.imports.lines": "the asker's own lines, looked at again every second for whether it still takes part",
    "hie.exchange.subscriptions.read": "the client's own subscription",
    "hie.exchange.subscriptions.owned": "the client's own subscriptions",
    **dict.fromkeys(
        (f"hie.exchange.identity_changes.{act}" for act in ("merge", "unmerge", "link", "unlink", "split", "undo")),
        "`identity_changes._change` is, which they all go through",
    ),
}
"""Guards that are no `release.point` themselves, and what holds what they let out."""

READ_WITHIN: Mapping[str, str] = {
    **dict.fromkeys(
        ("hie.exchange.submit.discard", "hie.exchange.submit.pass_on"),
        "names of bytes that the message itself brought, and whether an entry hangs on them; nothing is given out",
    ),
    **dict.fromkeys(
        (
            "hie.exchange.concern_review.case",
            "hie.exchange.concern_review.listed",
            "hie.exchange.concern_review.next_for",
            "hie.exchange.emergency_pages.listed",
            "hie.exchange.emergency_pages.next_for",
            "hie.exchange.identity_pages.find",
            "hie.exchange.identity_pages.identity",
            "hie.exchange.identity_pages.summaries",
            "hie.exchange.identity_pages.then",
            "hie.exchange.query_words.page",
            "hie.exchange.review_cases.case",
            "hie.exchange.review_list.acts",
            "hie.exchange.review_stakes.persons",
            "hie.exchange.values_by_hand.page",
            "hie.exchange.why_match.match",
        ),
        "a part of an administrators' page, which has asked `access.administrative` before (tests/leaks/test_walk_pages.py)",
    ),
    **dict.fromkeys(
        (
            "hie.exchange.concerns.pass_on_overdue",
            "hie.exchange.emergency_review.escalate",
            "hie.exchange.helpers.tell_of_majority",
            "hie.exchange.imports.waiting",
            "hie.exchange.inbox.rewrap",
            "hie.exchange.query.expire",
            "hie.exchange.relabel.carry_on",
            "hie.exchange.replay.nightly",
            "hie.exchange.retention.carry_on",
        ),
        "the work of a task, which gives back a count",
    ),
    **dict.fromkeys(
        (
            f"hie.exchange.patient_notices.{act}"
            for act in ("choose", "chosen", "is_link", "is_unsubscribe", "mark_read", "unsubscribe", "verify")
        ),
        "an account's own choice and address; nothing of a record",
    ),
    "hie.exchange.accounts.load": "takes a file in",
    "hie.exchange.accounts.people_pks": "whom the account holds grants for: row ids, for the session alone",
    "hie.exchange.document_view.day": "the day of an entry that has been let through",
    "hie.exchange.find.folder_to_extend": "a folder of the caller's own organization",
    "hie.exchange.named_patients.patient_cx": "whether a patient is known, a guess that is counted",
    "hie.exchange.find.revision_of": "a number, of what the caller's own submission changed",
    **dict.fromkeys(
        (
            f"hie.exchange.governance.{act}"
            for act in ("activate", "load_laws", "outdated", "propose", "report", "report_again")
        ),
        "counts of recorded decisions, by rule, and of documents, by label",
    ),
    "hie.exchange.inbox.error_groups": "counts of messages by error",
    "hie.exchange.inbox.receive": "hands to the handlers, which go their own ways",
    "hie.exchange.message_pages.ReplayPages.choose": "which messages, by their kind and cause",
    "hie.exchange.why_organization.organization": "what an organization lacks, and counts of what it was refused",
    "hie.exchange.retention.place": "whether what is to be held is known here, to those who may place holds; nothing of it is given out",
    "hie.exchange.retention_report.page": "the schedule, holds by their ids, and how much was removed",
    "hie.exchange.query.cancel": "the caller's own query",
    "hie.exchange.query.owned": "the caller's own query, which `query_answers.view` decides about",
    "hie.exchange.query_answers.wait": "whether the caller's own query has moved",
    "hie.exchange.queues.waiting": "counts of tasks",
}
"""What faces use of the exchange that reads records and does not ask the door itself, and why nothing hidden is told."""

TABLE: Mapping[str, Mapping[str, Entry]] = {
    "url": URLS,
    "fhir": FHIR,
    "xds": XDS,
    "hl7v2": HL7V2,
    "task": TASKS,
    "admin": ADMIN,
    "action": ACTIONS,
    "command": COMMANDS,
    "channel": CHANNELS,
}
