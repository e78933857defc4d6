"""A decision in words: one sentence a rule, for patients, participants, administrators.

Sentences are templates under stable keys with named places, so that another
language is another table and nothing else. What participants are told never says
that a hidden document exists.

Source: spec/consent.md sections 14 and 14.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import Final

from hie.standards.facts import Decision


class Audience(StrEnum):
    """Who reads the sentence."""

    PATIENT = "patient"
    PARTICIPANT = "participant"
    ADMINISTRATOR = "administrator"


_PATIENT: Final[Mapping[str, str]] = {
    "G1": "The request was incomplete, so nothing was shown.",
    "G2": "{o} is not an active member of the exchange, so nothing was shown.",
    "G3": "{o} is not an active member of the exchange, so nothing was shown.",
    "G4": "{o} is not allowed to ask for {w}.",
    "G5": "{p}'s role does not allow {w}.",
    "G6": "{o} did not say that it is treating you.",
    "G7": "{p} tried emergency access without a valid emergency request.",
    "X1": "This summary contains something {p} may not see.",
    "P1": "Your care team asked to talk with you before this is shown. Ask {o}.",
    "P2": "You can see your own record from the age of {n}.",
    "P3": "You looked at this yourself.",
    "P4": "{p} has no valid permission from you.",
    "P5": "{p}'s access as a parent ended when you came of age.",
    "P6": "This is kept between you and your care team.",
    "P7": "You chose not to show this to {p}.",
    "P8": "Your permission for {p} does not reach this document.",
    "P9": "{p} saw this on your behalf.",
    "C1": "{o} looked at its own record of you.",
    "L1": "The law does not allow this.",
    "L2": "The law requires {o2} to report this.",
    "O1": "{o2} does not share this kind of document with {o}.",
    "D1": "You refused emergency access, and the law here respects that.",
    "D2": '{p} opened this in an emergency: "{reason}". It will be checked, and you can object.',
    "D3": "Refused because of {c}.",
    "D4": "This needs your written agreement that names it; there is none.",
    "D5": "This is very private and opens only if you name it.",
    "D6": "Shown because of {c}.",
    "D7": "{c} does not reach this document.",
    "F1": "Shown under the general rule of {jurisdiction}; you have made no other choice.",
    "F2": "The general rule of {jurisdiction} does not cover this.",
    "F3": "In {jurisdiction} nothing is shared until you agree; you have not.",
}

# Refusals that rest on a record are one sentence for participants, the same as when nothing is there.
_NOTHING: Final = "Nothing was found that may be shown."
_PARTICIPANT: Final[Mapping[str, str]] = {
    "G1": "The request is incomplete or names an unknown purpose, role or operation.",
    "G2": "Your organization's participation is not active.",
    "G4": "Your organization's agreement does not include {w}.",
    "G5": "Your role does not allow {w}.",
    "G6": "State the treatment relationship with the patient.",
    "G7": "There is no valid emergency grant for this request.",
    "P3": "Shown to the patient.",
    "P9": "Shown to the patient's representative.",
    "C1": "Shown as your own organization's record.",
    "L2": "Shown because the law requires it.",
    "D2": "Shown in an emergency; the patient is told and the access is reviewed.",
    "D6": "Shown under the patient's consent.",
    "F1": "Shown under the general rule of {jurisdiction}.",
}

_ADMINISTRATOR: Final[Mapping[str, str]] = {
    "G1": "Something in the request is missing or unknown, or the document is not about this patient.",
    "G2": "The requester {o} is unknown, or its registration or agreement is not active now.",
    "G3": "The custodian {o2} is unknown, or its registration or agreement is not active now.",
    "G4": "{w} is not among the purposes in the agreement of {o}.",
    "G5": "{w} is not among the purposes of the role.",
    "G6": "{o} must attest a treatment relationship and did not.",
    "G7": "No valid emergency grant for this user, organization, patient and time.",
    "X1": "A source of this derived document is denied to the requester.",
    "P1": "The document is withheld from the patient (NOPAT).",
    "P2": "The patient is below the age of own access.",
    "P3": "The patient's own access.",
    "P4": "No active proxy grant for this user and patient now.",
    "P5": "The grant of a parent ended at majority.",
    "P6": "Confidential care of a minor; the minor has not named this proxy.",
    "P7": "The patient's directive denies this proxy or purpose.",
    "P8": "The document is above the ceiling of the proxy grant.",
    "P9": "Access under a proxy grant.",
    "C1": "The custodian's own use for care, payment or operations.",
    "L1": "A legal prohibition applies.",
    "L2": "A legal mandate applies; the disclosure must be accounted for.",
    "O1": "A release rule of {o2} applies.",
    "D1": "The patient refused emergency access, and the jurisdiction honours it.",
    "D2": "Emergency access under a valid grant; review and notice follow.",
    "D3": "Denied by the patient's directive.",
    "D4": "A label needs an explicit consent, and no permitting directive covers it.",
    "D5": "Very restricted, and no permitting directive lists V.",
    "D6": "Permitted by the patient's directive.",
    "D7": "A directive of the patient permits less than this.",
    "F1": "Permitted by the opt-out default of {jurisdiction}.",
    "F2": "Not covered by the opt-out default of {jurisdiction}.",
    "F3": "The default of {jurisdiction} is opt-in, and no directive permits.",
}

_PARTICIPANT_ES: Final[Mapping[str, str]] = {
    "G1": "La solicitud está incompleta o nombra un propósito, un rol o una operación que no se conoce.",
    "G2": "La participación de su organización no está activa.",
    "G4": "El acuerdo de su organización no incluye {w}.",
    "G5": "Su rol no permite {w}.",
    "G6": "Indique la relación de tratamiento con el paciente.",
    "G7": "No hay un permiso de emergencia válido para esta solicitud.",
    "P3": "Se mostró al paciente.",
    "P9": "Se mostró al representante del paciente.",
    "C1": "Se mostró como documento de su propia organización.",
    "L2": "Se mostró porque la ley lo exige.",
    "D2": "Se mostró en una emergencia; se avisa al paciente y se revisa el acceso.",
    "D6": "Se mostró por el consentimiento del paciente.",
    "F1": "Se mostró por la regla general de {jurisdiction}.",
}

_ADMINISTRATOR_ES: Final[Mapping[str, str]] = {
    "G1": "Algo de la solicitud falta o no se conoce, o el documento no es de este paciente.",
    "G2": "El solicitante {o} no se conoce, o su registro o su acuerdo no está activo ahora.",
    "G3": "El custodio {o2} no se conoce, o su registro o su acuerdo no está activo ahora.",
    "G4": "El acuerdo de {o} no tiene {w} entre sus propósitos.",
    "G5": "El rol no tiene {w} entre sus propósitos.",
    "G6": "{o} debe declarar una relación de tratamiento y no lo hizo.",
    "G7": "No hay un permiso de emergencia válido para este usuario, organización, paciente y momento.",
    "X1": "Una fuente de este documento derivado se niega al solicitante.",
    "P1": "El documento se reserva frente al paciente (NOPAT).",
    "P2": "El paciente no tiene la edad de acceso propio.",
    "P3": "Acceso del propio paciente.",
    "P4": "No hay ahora un permiso activo de representante para este usuario y paciente.",
    "P5": "El permiso de un padre o una madre terminó con la mayoría de edad.",
    "P6": "Atención confidencial de un menor, que no ha nombrado a este representante.",
    "P7": "La elección del paciente niega a este representante o este propósito.",
    "P8": "El documento está por encima del límite del permiso del representante.",
    "P9": "Acceso con un permiso de representante.",
    "C1": "Uso propio del custodio para atención, pago o gestión.",
    "L1": "Se aplica una prohibición legal.",
    "L2": "Se aplica un mandato legal; la entrega debe constar en el registro de entregas.",
    "O1": "Se aplica una regla de entrega de {o2}.",
    "D1": "El paciente rechazó el acceso de emergencia, y la jurisdicción lo respeta.",
    "D2": "Acceso de emergencia con un permiso válido; siguen el aviso y la revisión.",
    "D3": "Lo niega la elección del paciente.",
    "D4": "Una etiqueta exige un consentimiento expreso, y ninguna elección que permite la cubre.",
    "D5": "Muy restringido, y ninguna elección que permite nombra V.",
    "D6": "Lo permite la elección del paciente.",
    "D7": "Una elección del paciente permite menos que esto.",
    "F1": "Lo permite la regla general de {jurisdiction}, de exclusión voluntaria.",
    "F2": "La regla general de {jurisdiction} no lo cubre.",
    "F3": "La regla general de {jurisdiction} es de inclusión voluntaria, y ninguna elección permite.",
}

_TABLES: Final[Mapping[str, Mapping[Audience, Mapping[str, str]]]] = {
    "en": {
        Audience.PATIENT: _PATIENT,
        Audience.PARTICIPANT: _PARTICIPANT,
        Audience.ADMINISTRATOR: _ADMINISTRATOR,
    },
    # Patients' sentences in other languages are the portal's translations of the English ones.
    "es": {Audience.PARTICIPANT: _PARTICIPANT_ES, Audience.ADMINISTRATOR: _ADMINISTRATOR_ES},
}

_NOTHING_IN: Final[Mapping[str, str]] = {"en": _NOTHING, "es": "No se encontró nada que se pueda mostrar."}

# Why a rule did not fire, for whoever reads all rules in their order.
_PASSED: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "G1": "The request is whole, and about this patient.",
        "G2": "The organization that asks is an active member.",
        "G3": "The organization that holds the document is an active member.",
        "G4": "The agreement allows the purpose.",
        "G5": "The role allows the purpose.",
        "G6": "No treatment relationship is missing.",
        "G7": "No emergency access is asked for, or the grant for it is valid.",
        "X1": "The document was not made from one that is refused.",
        "P1": "It is not withheld from the patient, or somebody else asks.",
        "P2": "The patient has the age of own access, or somebody else asks.",
        "P3": "It is not the patient who asks.",
        "P4": "A permission to act for the patient is in force, or none is needed.",
        "P5": "No parent's permission has ended.",
        "P6": "It is no confidential care of a minor, or the helper is named.",
        "P7": "The patient has not denied it to this helper.",
        "P8": "It is within the limit of the helper's permission.",
        "P9": "It is no helper who asks.",
        "C1": "It is not the organization's own document, or the patient has denied it to this very person.",
        "L1": "No law forbids it.",
        "L2": "No law demands it.",
        "O1": "The organization that holds it has no rule against it.",
        "D1": "The patient has not refused emergency access to it.",
        "D2": "It is no emergency, or the document is very restricted.",
        "D3": "No choice of the patient denies it.",
        "D4": "No law wants an explicit agreement that is missing.",
        "D5": "It is not very restricted, or it is opened by name.",
        "D6": "No choice of the patient permits it.",
        "D7": "No choice of the patient stops short of it.",
        "F3": "Here documents are shared unless the patient objects.",
        "F1": "The general rule does not reach it.",
        "F2": "The general rule covers it.",
    },
    "es": {
        "G1": "La solicitud está completa y es de este paciente.",
        "G2": "La organización que pregunta es miembro activo.",
        "G3": "La organización que guarda el documento es miembro activo.",
        "G4": "El acuerdo permite el propósito.",
        "G5": "El rol permite el propósito.",
        "G6": "No falta una relación de tratamiento.",
        "G7": "No se pide acceso de emergencia, o el permiso para ello es válido.",
        "X1": "El documento no se hizo a partir de otro que se niega.",
        "P1": "No se reserva frente al paciente, o pregunta otra persona.",
        "P2": "El paciente tiene la edad de acceso propio, o pregunta otra persona.",
        "P3": "No es el paciente quien pregunta.",
        "P4": "Hay un permiso vigente para actuar por el paciente, o no hace falta.",
        "P5": "No ha terminado el permiso de un padre o una madre.",
        "P6": "No es atención confidencial de un menor, o el representante está nombrado.",
        "P7": "El paciente no se lo ha negado a este representante.",
        "P8": "Está dentro del límite del permiso del representante.",
        "P9": "No es un representante quien pregunta.",
        "C1": "No es un documento de la propia organización, o el paciente se lo ha negado a esta persona.",
        "L1": "Ninguna ley lo prohíbe.",
        "L2": "Ninguna ley lo exige.",
        "O1": "La organización que lo guarda no tiene una regla en contra.",
        "D1": "El paciente no ha rechazado el acceso de emergencia a él.",
        "D2": "No es una emergencia, o el documento está muy restringido.",
        "D3": "Ninguna elección del paciente lo niega.",
        "D4": "Ninguna ley pide un acuerdo expreso que falte.",
        "D5": "No está muy restringido, o se abre por su nombre.",
        "D6": "Ninguna elección del paciente lo permite.",
        "D7": "Ninguna elección del paciente se queda corta.",
        "F3": "Aquí los documentos se comparten si el paciente no se opone.",
        "F1": "La regla general no llega a él.",
        "F2": "La regla general lo cubre.",
    },
}

# What stands in for a name that the caller does not give: a sentence must never show a bare brace.
_UNNAMED_ES: Final[Mapping[str, str]] = {
    "p": "Esta persona",
    "o": "la organización",
    "o2": "la organización que lo guarda",
    "w": "este propósito",
    "d": "este documento",
    "c": "su elección",
    "n": "la mayoría de edad",
    "reason": "emergencia",
    "jurisdiction": "este lugar",
}
_UNNAMED: Final[Mapping[str, str]] = {
    "p": "This person",
    "o": "The organization",
    "o2": "the organization that holds it",
    "w": "this purpose",
    "d": "this document",
    "c": "your choice",
    "n": "majority",
    "reason": "emergency",
    "jurisdiction": "this place",
}

PURPOSE_WORDS: Final[Mapping[str, str]] = {
    "TREAT": "treatment",
    "COC": "coordination of care",
    "POPHLTH": "population health",
    "ETREAT": "emergency treatment",
    "ERTREAT": "emergency room treatment",
    "BTG": "emergency access",
    "HPAYMT": "payment",
    "HOPERAT": "health care operations",
    "HRESCH": "research",
    "PUBHLTH": "public health",
    "PATRQT": "the patient's own request",
    "FAMRQT": "a family request",
    "PWATRNY": "a request under power of attorney",
    "SUPNWK": "a request of the support network",
    "HLEGAL": "legal proceedings",
    "HMARKT": "marketing",
    "CLMATTCH": "papers for a claim",
    "COVAUTH": "approval of coverage",
    "COVERAGE": "questions of coverage",
    "ELIGDTRM": "deciding on eligibility",
    "ELIGVER": "checking eligibility",
    "ENROLLM": "enrollment in a plan",
    "REMITADV": "notice of a payment",
    "CAREMGT": "care management",
    "DONAT": "organ donation",
    "FRAUD": "finding fraud",
    "HACCRED": "accreditation",
    "HCOMPL": "checks of compliance",
    "HDECD": "records of the deceased",
    "HDIRECT": "directories",
    "HOUTCOMS": "measuring outcomes",
    "HQUALIMP": "improving quality",
    "PATADMIN": "administration of patients",
    "PATSFTY": "patient safety",
    "PERFMSR": "measuring performance",
    "RECORDMGT": "record keeping",
    "HSYSADMIN": "running the systems",
    "TRAIN": "training",
    "CLINTRCH": "clinical trials",
    "BIORCH": "biomedical research",
    "DSRCH": "research on a disease",
    "POARCH": "research on ancestry",
    "TRANSRCH": "research from lab to care",
    "DISASTER": "help in a disaster",
    "THREAT": "a threat to public health",
}


def rule_key(rule: str) -> str:
    """The stable key of a rule's sentences, stored with a decision: ``consent.D3``; the audience chooses among them."""
    return f"consent.{rule}"


def languages(audience: Audience) -> tuple[str, ...]:
    """The languages that have sentences of their own here for an audience; patients' others are the portal's."""
    return tuple(language for language, table in _TABLES.items() if audience in table)


def passed(rule: str, language: str = "en") -> str:
    """Why a rule did not fire; English where a language lacks it."""
    return _PASSED.get(language, {}).get(rule) or _PASSED["en"].get(rule, "")


def nothing(language: str = "en") -> str:
    """What participants are told where nothing is shown, whatever the reason."""
    return _NOTHING_IN.get(language, _NOTHING)


def key(rule: str, audience: Audience) -> str:
    """The stable key of a sentence, stored with a decision: ``consent.D3.patient``."""
    return f"consent.{rule}.{audience.value}"


def template(rule: str, audience: Audience, language: str = "en") -> str:
    """The sentence with its named places; English where a language lacks it."""
    for table in (_TABLES.get(language, {}), _TABLES["en"]):
        sentences = table.get(audience, {})
        if rule in sentences:
            return sentences[rule]
        if audience is Audience.PARTICIPANT and sentences:
            return nothing(language)
    return _NOTHING


def sentence(
    decision: Decision, audience: Audience, parameters: Mapping[str, str] | None = None, *, language: str = "en"
) -> str:
    """The decision in one sentence.

    `parameters`: p person, o asking organization, o2 custodian, w purpose in words, d document,
    c "your choice of <date>", n age, reason, jurisdiction. What is not given is said generally.
    """
    return fill(template(decision.rule, audience, language), parameters or {}, language)


def fill(text: str, parameters: Mapping[str, str], language: str = "en") -> str:
    """Put names into a template; values are text and are never themselves read as templates."""
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            unnamed = _UNNAMED_ES if language == "es" else _UNNAMED
            value = parameters.get(name) or unnamed.get(name, "")
            parts.append(value[:1].upper() + value[1:] if not "".join(parts) else value)
    return "".join(parts)


def purpose_words(purpose: str) -> str:
    """A purpose of use in words; the code itself where there are none yet."""
    return PURPOSE_WORDS.get(purpose, purpose)
