"""The words of the patient's access log, in English, from which the portal translates.

Source: words of `ui/README.md`.
"""

from __future__ import annotations

from hie.exchange.access_log_values import ActorKind, LogEntry, Who

PURPOSE_WORDS: dict[str, str] = {
    "TREAT": "to treat you",
    "HPAYMT": "to decide on a payment",
    "HOPERAT": "to run the hospital",
    "HRESCH": "for research",
    "PUBHLTH": "for public health",
    "BTG": "in an emergency",
    "ETREAT": "to treat you",
    "PATRQT": "because you asked",
    "HLEGAL": "for a court",
    "HMARKT": "for advertising",
}

ROLE_WORDS: dict[str, str] = {
    "physician": "doctor",
    "nurse": "nurse",
    "paramedic": "ambulance staff",
    "pharmacist": "pharmacist",
    "clerk": "office staff",
    "billing": "billing staff",
    "quality": "quality staff",
    "researcher": "researcher",
    "public-health-officer": "public health officer",
    "investigator": "investigator",
    "patient": "patient",
    "proxy": "helper",
    "steward": "records staff",
    "privacy-officer": "privacy officer",
    "onboarding": "office staff",
    "auditor": "auditor",
    "operator": "technical staff",
    "administrator": "administrator",
}

# One template a key; {who} is already "name, role at place" in its own template WHO. English, the source of translations.
SENTENCES: dict[str, str] = {
    "opened.one": "{who} opened your {kind} {why}.",
    "opened.many": "{who} opened {count} of your documents {why}.",
    "opened.withheld": "{who} opened one of your documents {why}.",
    "looked-at.none": "{who} looked for documents about you {why}. There were none to show.",
    "looked-at.one": "{who} looked at the entry of your {kind} {why}.",
    "looked-at.many": "{who} looked at the list of {count} of your documents {why}.",
    "looked-at.record": "{who} looked at your record {why}.",
    "asked-for.documents": "{who} asked for your documents {why}. Nothing was shown.",
    "asked-for.record": "{who} asked for your record {why}. Nothing was shown.",
    "looked-up": "{who} looked you up {why}.",
    "looked-up.refused": "{who} tried to look you up {why}. Nothing was shown.",
    "sent.question": "{who} asked {recipient} about you {why}. Your name and date of birth were sent.",
    "sent.withheld": "{who} wanted to ask {recipient} about you {why}. Nothing was sent.",
    "sent.documents": "{who} sent {count} of your documents to {recipient} {why}.",
    "sent.notice": "{who} sent a notice about you to {recipient} {why}.",
    "asked.decision": "{who} asked us who may see your record {why}. Nothing of it was shown.",
    "tried.decision": "{who} looked at who could see your record.",
    "read.decision": "{who} read why your record was shown or not.",
    "added.documents": "{who} added documents to your record.",
    "added.refused": "{who} tried to add to your record. It was not taken in.",
    "added.person": "{who} added or updated your name and contact data.",
    "added.choice": "{who} saved a choice about your record.",
    "changed.choice": "{who} took back a choice about your record.",
    "changed.record": "{who} changed your record: {what}.",
    "read-log": "{who} read this log.",
    "declared": "{who} said that there is an emergency, to see more of your record.",
    "staff": "{who} looked at your record: {what}.",
    "automatic": "{who} worked on your record: {what}.",
}

WHO: dict[str, str] = {
    "person": "{name}, {role} at {organization},",
    "person.no-role": "{name} at {organization}",
    "organization": "{organization}",
    "system": "An automatic service of {organization}",
    "you": "You",
    "patient": "{name}",
    "helper": "{name}, on your behalf,",
    "staff": "The exchange’s own staff ({role})",
    "staff.named": "{name} of the exchange’s own staff ({role})",
}


def who_words(who: Who) -> str:
    """The reader in English: "Dr. Eve Marlowe, doctor at Velmoor General Hospital,"."""
    key = str(who.kind)
    if who.kind is ActorKind.PERSON and not who.role_words:
        key = "person.no-role"
    if who.kind is ActorKind.STAFF and who.name:
        key = "staff.named"
    organization = who.organization or "the exchange"
    return WHO[key].format(name=who.name or "Someone", role=who.role_words or "staff", organization=organization)


def purpose_words(purpose: str) -> str:
    """Why, in words; "" where no reason was needed."""
    from_family = {"COC": "TREAT", "ERTREAT": "TREAT", "POPHLTH": "TREAT", "FAMRQT": "PATRQT", "PWATRNY": "PATRQT", "SUPNWK": "PATRQT"}  # fmt: skip
    known = PURPOSE_WORDS.get(purpose) or PURPOSE_WORDS.get(from_family.get(purpose, ""))
    return known or (f"for the purpose {purpose}" if purpose else "")


def sentence_words(entry: LogEntry) -> str:
    """The line's sentence in English."""
    text = SENTENCES[entry.sentence].format(**entry.values)
    return " ".join(text.split()).replace(" .", ".").replace(" ,", ",")
