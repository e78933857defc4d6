"""Random cases: well-formed mostly, in every corner the rules know; where asked, with Consents of wild shapes.

Codes without a system, of another one or unknown, roles of several codings, references from
elsewhere and dates that cannot be read are drawn everywhere; `wild` breaks the JSON of a Consent too.
"""

from __future__ import annotations

import copy
from functools import cache
from itertools import combinations, product
from typing import Any

from hypothesis import strategies as st

from tests.consent import fixture as fx

ORGS = sorted(fx.FIXTURE["organizations"])
USERS = ["Practitioner/ivo", "Practitioner/una", "Patient/ada", "Patient/ada-old", "RelatedPerson/max", "Device/d1"]
SPELLED = ["https://hub.example/fhir/Practitioner/ivo", "Practitioner/una/_history/2", "ivo", " practitioner/una"]
PURPOSES = ["TREAT", "ETREAT", "COC", "BTG", "HPAYMT", "COVERAGE", "HOPERAT", "HRESCH", "CLINTRCH", "PUBHLTH", "HLEGAL",
            "PATRQT", "FAMRQT", "PWATRNY", "HMARKT"]  # fmt: skip
LABELS = ["MH", "PSY", "PSYTHPN", "SUD", "OPIOIDUD", "HIV", "STD", "SEX", "PREGNANT", "SDV", "VIO", "GDIS", "SICKLE", "DEMO",
          "42CFRPart2", "NOPAT", "BH"]  # fmt: skip
DATES = ["2025", "2026", "2027", "2026-05", "2026-06", "2026-06-14", "2026-06-15", "2026-06-16", "2026-05-01",
         "2026-06-15T12:00Z", "2026-06-15T12:00:00Z", "2026-06-15T07:59:59.999-04:00", "2026-06-15T08:00:00.000-04:00"]  # fmt: skip
NOWS = ["2026-06-15T12:00:00Z", "2026-06-15T03:59:59Z", "2026-06-15T04:00:00Z", "2026-12-31T23:30:00Z", "2029-01-20T05:00:00Z",
        "2029-01-20T04:59:59Z", "2026-02-28T12:00:00Z", "2026-03-01T05:00:00Z"]  # fmt: skip
PERIODS = list(product([None] * 7 + DATES, repeat=2))
UNREADABLE = ["soon", "2026-02-30", "2026-06-15T12:00:00", "", "2026-6"]
CLASSES = ["http://loinc.org|34133-9", "http://loinc.org|11488-4", "http://loinc.org|18842-5"]
ALIASED = ["http://hl7.org/fhir/v3/ActCode|CLN", "urn:oid:2.16.840.1.113883.5.4|CLN", fx.HL7 + "v3-ActCode|CLN"]
CODES = ["http://snomed.info/sct|56717001", "http://snomed.info/sct|38341003"]
ELSEWHERE = "https://hub.example/fhir/"
OTHER_SYSTEM = "http://example.org/other"
SYSTEM_SPELLINGS = {
    "v3-ActReason": ["urn:oid:2.16.840.1.113883.5.8", "http://hl7.org/fhir/v3/ActReason"],
    "v3-ActCode": ["urn:oid:2.16.840.1.113883.5.4", "http://hl7.org/fhir/v3/ActCode"],
    "v3-Confidentiality": ["urn:oid:2.16.840.1.113883.5.25", "http://hl7.org/fhir/v3/Confidentiality"],
    "v3-ParticipationType": ["http://hl7.org/fhir/v3/ParticipationType"],
}


# What a case costs is its draws (about 80 µs each, whatever is drawn), so that what can be chosen at once is; and
# strategies are made once: to make one anew at each draw costs more than the draw.
@cache
def _sampled(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def sampled(values: Any) -> st.SearchStrategy[Any]:
    try:
        return _sampled(tuple(values))
    except TypeError:  # not hashable
        return st.sampled_from(values)


number = cache(st.integers)


@cache
def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


@cache
def few(values: tuple[Any, ...], least: int = 0, most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    """Some of the values, without order and each at most once; each number of them about equally often."""
    sizes = [list(combinations(values, size)) for size in range(least, most + 1)]
    longest = max(map(len, sizes))
    return st.sampled_from([one for made in sizes for one in made * (longest // len(made))])


def some(values: list[str], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return few(tuple(values), 1, most)


@st.composite
def codings(draw: Any, system: str, values: list[str], most: int = 3) -> list[dict[str, str]]:
    """Codings mostly of the system, some of another or none; mostly known codes."""
    one = _codings(system, tuple(values))
    made = [dict(zip(("system", "code"), draw(one), strict=True)) for _ in range(draw(number(1, most)))]
    return [{k: v for k, v in one.items() if v is not None} for one in made]


@cache
def _codings(system: str, values: tuple[str, ...]) -> st.SearchStrategy[tuple[str | None, str]]:
    spelled = [fx.HL7 + system] * 8 + SYSTEM_SPELLINGS.get(system, []) + [OTHER_SYSTEM, None, None]
    return st.sampled_from(list(product(spelled, [*values * (1 + 16 // len(values)), "WHAT"])))


@st.composite
def content_codings(draw: Any, values: list[str]) -> list[dict[str, str]]:
    made = [dict(zip(("system", "code"), c.split("|"), strict=True)) for c in draw(some([*values, *ALIASED]))]
    if draw(number(0, 9)) == 0:
        made[0].pop("system")
    return made


@cache
@st.composite
def security_labels(draw: Any) -> list[dict[str, str]]:
    letters = draw(maybe(codings("v3-Confidentiality", list("LNRV"))))
    sensitive = draw(maybe(codings("v3-ActCode", LABELS)))
    return [*(letters or []), *(sensitive or [])] or fx.labels("R")


@cache
@st.composite
def period(draw: Any) -> dict[str, str]:
    return {k: v for k, v in zip(("start", "end"), draw(sampled(PERIODS)), strict=True) if v}


IDENTIFIERS = [("urn:hie:role", "physician"), ("urn:hie:org-type", "payer"), ("urn:hie:org-type", "hospital"),
               ("urn:oid:2.999.7", "lake"), (None, "lake"), (None, "physician"), (None, "hospital"), ("urn:x", "lake"),
               ("urn:hie:role", None)]  # fmt: skip


@cache
@st.composite
def references(draw: Any, form: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if form < 8:
        text = draw(sampled([f"Organization/{o}" for o in ORGS] + USERS * 2 + ["CareTeam/t1", "ivo", "hill"]))
        made["reference"] = {6: ELSEWHERE + text, 7: text + "/_history/2"}.get(form, text)
    elif form == 11:
        made = draw(sampled([{"reference": "#a"}, {"display": "The clinic"}, {}]))
    if form in (5, 8, 9, 10):
        system, value = draw(sampled(IDENTIFIERS[:4] * 4 + IDENTIFIERS))
        made["identifier"] = {k: v for k, v in (("system", system), ("value", value)) if v}
    return made


ROLES = ["IRCP"] * 5 + ["PRCP", "CST", "CST", "AUT", "TRC"]
ACTORS = list(product(ROLES, range(12), range(12)))


@cache
@st.composite
def actors(draw: Any) -> list[dict[str, Any]]:
    made = []
    for _ in range(draw(sampled([1, 1, 2, 2, 3]))):
        role, form, odd = draw(sampled(ACTORS))
        actor: dict[str, Any] = fx.actor(role, **draw(references(form)))
        if odd == 0:
            values = ["IRCP", "CST", "AUT", "TRC"]
            actor["role"] = {"coding": draw(codings("v3-ParticipationType", values))}
        elif odd == 1:
            actor["role"] = {"coding": [fx.coding("v3-ParticipationType", draw(sampled(ROLES))) for _ in range(2)]}
        elif odd == 2:
            actor |= draw(sampled([{"role": {"text": "reader"}}, {"role": {"coding": [{"code": "IRCP"}]}}]))
        elif odd == 3:
            actor.pop(draw(sampled(["role", "reference"])))
        made.append(actor)
    return made


CRITERIA = ("purpose", "actor", "securityLabel", "class", "code", "action", "data", "period", "dataPeriod")


@cache
@st.composite
def criteria(draw: Any, chosen: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "purpose" in chosen:
        made["purpose"] = draw(codings("v3-ActReason", PURPOSES))
    if "actor" in chosen:
        made["actor"] = draw(actors())
    if "securityLabel" in chosen:
        made["securityLabel"] = draw(security_labels())
    if "class" in chosen:
        made["class"] = draw(content_codings(CLASSES))
    if "code" in chosen:
        made["code"] = [{"coding": [one]} for one in draw(content_codings(CODES))]
    if "action" in chosen:
        made["action"] = [
            {"coding": draw(codings("consentaction", ["collect", "access", "use", "disclose", "correct"]))}
        ]
    if "data" in chosen:
        text = draw(sampled(["DocumentReference/d", "DocumentReference/x", "Encounter/e", "Practitioner/una"]))
        meaning = draw(sampled(["instance", "related", "dependents", "authoredby"] * 3 + ["sameauthor", None]))
        prefix = draw(sampled([""] * 5 + [ELSEWHERE]))
        made["data"] = [{"meaning": meaning, "reference": {"reference": prefix + text}}]
        if meaning is None:
            made["data"][0].pop("meaning")
    for member in {"period", "dataPeriod"}.intersection(chosen):
        made[member] = draw(period())
    return made


_CHOSEN = [one for size in range(3) for one in list(combinations(CRITERIA, size)) * {0: 12, 1: 4, 2: 1}[size]]
_SHAPES = st.sampled_from(list(product(["permit", "permit", "deny"], [0, 0, 1, 1, 2], _CHOSEN)))


@cache
@st.composite
def provisions(draw: Any, depth: int = 3) -> dict[str, Any]:
    kind, children, chosen = draw(_SHAPES)
    below = [draw(provisions(depth=depth - 1)) for _ in range(children if depth else 0)]
    return fx.node(kind, *below, **draw(criteria(chosen)))


SCOPES = [[fx.coding("consentscope", "research")], [fx.coding("consentscope", "treatment")], [{"code": "patient-privacy"}],
          [{"code": "research"}], [fx.coding("consentscope", "privacy")], [{"system": OTHER_SYSTEM, "code": "patient-privacy"}],
          [fx.coding("consentscope", "treatment"), {"code": "patient-privacy"}],
          [fx.coding("consentscope", "research"), {"code": "patient-privacy"}],
          [fx.coding("consentscope", "patient-privacy"), {"code": "what"}]]  # fmt: skip
# What stands beside the provision, and makes a Consent unintelligible or not.
BESIDE: list[dict[str, Any]] = [
    {"modifierExtension": [{"url": "urn:x"}]},
    {"contained": [{"resourceType": "Organization", "id": "a", "modifierExtension": [{"url": "urn:x"}]}]},
    {"extension": [{"url": "urn:x", "extension": [{"url": "y", "valueDate": "2026"}]}]},
    {"extension": [{"url": "urn:x", "valueDateTime": "soon"}]},
    {"verification": [{"verified": True, "verificationDate": "2026-02-30"}]},
    {"verification": [{"verified": True, "modifierExtension": [{"url": "urn:x"}]}]},
    {"meta": {"lastUpdated": "x"}},
    {"meta": {"lastUpdated": "2026-01-01T00:00:00.000Z"}},
    {"identifier": [{"system": "urn:x", "value": "1", "period": {"start": "2026", "end": "never"}}]},
    {"sourceAttachment": {"creation": "x"}},
    {"implicitRules": "urn:x"},
    {"_dateTime": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}},
]


@cache
@st.composite
def consents(draw: Any, *, wild: bool = False) -> dict[str, Any]:
    made = fx.consent(draw(provisions()), patient=draw(sampled(["ada"] * 6 + ["ada-old", "bea"])))
    made |= zip(("id", "status", "dateTime"), draw(sampled(HEADS)), strict=True)
    if draw(number(0, 9)) == 0:
        made["scope"] = {"coding": draw(sampled(SCOPES))}
    oddity = draw(number(0, 24))
    if oddity == 0:
        made["policyRule"] = fx.rule(draw(sampled(["OPTIN", "OPTOUT", "42CFRPart2CD"])))
    elif oddity in (1, 2):
        made["provision"].pop("type")
        made["policyRule"] = fx.rule(*draw(some(["OPTIN", "OPTOUT", "42CFRPart2CD"])))
    elif oddity == 3:
        made["policyRule"] = {"coding": draw(codings("v3-ActCode", ["OPTIN", "OPTOUT", "OPTOUTE", "42CFRPart2CD"]))}
        if draw(st.booleans()):
            made["provision"].pop("type")
    elif oddity in (4, 5):
        made |= draw(sampled(BESIDE))
    elif oddity == 6:
        made["provision"]["period"] = {"end": draw(sampled(UNREADABLE))}
    return draw(broken(made)) if wild and draw(st.booleans()) else made


HEADS = list(product("abcdef", ["active"] * 8 + ["inactive"], ["2026-01-01"] * 6 + DATES))
JUNK: list[Any] = [None, [], {}, "", "x", "#a", 0, True, [None], [[]], {"x": 1}]
MEMBERS: list[tuple[str, Any]] = [
    ("type", "permit"), ("type", "deny"), ("type", "maybe"), ("period", {}), ("period", {"_end": {"id": "e"}}),
    ("dataPeriod", {"start": "2026-13"}), ("purpose", []), ("actor", []), ("securityLabel", [{"code": "HIV"}]),
    ("modifierExtension", []), ("provision", []), ("system", OTHER_SYSTEM), ("code", "R"), ("text", "words"),
    ("start", "2030"), ("end", "2020"), ("identifier", {"value": "lake"}), ("meaning", "related"),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


@st.composite
def broken(draw: Any, whole: dict[str, Any]) -> Any:
    """A Consent with one to three places changed: left out, replaced by junk, or given a member more."""
    whole = copy.deepcopy(whole)
    for _ in range(draw(sampled([1, 1, 1, 2, 3]))):
        place = draw(sampled(places(whole)))
        holder: Any = None
        value: Any = whole
        for key in place:
            holder, value = value, value[key]
        how = draw(number(0, 3))
        if how == 0 and place:
            del holder[place[-1]]
        elif how == 1 and place:
            holder[place[-1]] = copy.deepcopy(draw(sampled(JUNK)))
        elif isinstance(value, dict):
            member, more = draw(sampled(MEMBERS))
            value[member] = copy.deepcopy(more)
        elif isinstance(value, list) and value:
            value.append(copy.deepcopy(draw(sampled([value[0], *JUNK]))))
    return whole


WHOSE = list(product(["ada"] * 8 + ["ada-old", "bea"], ["lake"] * 4 + ORGS, [True] * 5 + [False]))
_SOME_CODES = [*CODES, ALIASED[0], "|56717001", "|38341003", "CLN"]
_AUTHORS = [("Practitioner/una",), ("Organization/lake", "urn:oid:2.999.7|lake")]
ABOUT = list(product([None] * 8 + list("ULMNNNRV"), [None, *combinations(_SOME_CODES, 1), *combinations(_SOME_CODES, 2)],
                     [None, None, *_AUTHORS], [None, "Encounter/e"]))  # fmt: skip
ABOUT += [("X", None, None, None)] * (len(ABOUT) // 60)
_OTHERS = [None, ("DocumentReference/x",)]
_STOPS = [None] * 4 + ["2026-07-01", "2026-08", "2025", "2026-02-30"]
_TIMES = [(None, None)] * 32 + list(product(["2026-05-01", "2025-12-30", "2026-06", "soon"], _STOPS))
WHEN = [(*one, *times, "2026-05-01T08:00:00Z") for one in product(_OTHERS, repeat=2) for times in _TIMES]


@cache
@st.composite
def documents(draw: Any, sources: int = 1) -> dict[str, Any]:
    whose = zip(("patient", "custodian", "labelled"), draw(sampled(WHOSE)), strict=True)
    made = fx.document(**dict(whose), labels=list(draw(few(tuple(LABELS)))))
    made["class"] = list(draw(few((*CLASSES, *ALIASED, "|34133-9", "18842-5"))))
    made.pop("confidentiality")
    about = zip(("confidentiality", "codes", "authors", "encounter"), draw(sampled(ABOUT)), strict=True)
    when = zip(("related", "dependsOn", "serviceStart", "serviceStop", "created"), draw(sampled(WHEN)), strict=True)
    made |= {k: list(v) if isinstance(v, tuple) else v for k, v in (*about, *when) if v}
    odd = draw(number(0, 71))
    if odd < 2:
        made["labels"] = [*made["labels"], "WHAT"]
    if odd % 9 == 0:
        made.pop("created")
    if sources and draw(number(0, 8)) == 0:
        made["derivedFrom"] = draw(st.lists(documents(sources=0), min_size=1, max_size=2))
    return made


FITTING = {"HPAYMT": "billing", "COVERAGE": "billing", "HRESCH": "researcher", "CLINTRCH": "researcher",
           "PUBHLTH": "public-health-officer", "HLEGAL": "investigator", "PATRQT": "patient", "FAMRQT": "proxy",
           "PWATRNY": "proxy"}  # fmt: skip
HOMES = {"HPAYMT": "coin", "COVERAGE": "coin", "HRESCH": "study", "CLINTRCH": "study", "PUBHLTH": "watch",
         "HLEGAL": "guard", "PATRQT": "door", "FAMRQT": "door", "PWATRNY": "door"}  # fmt: skip


@cache
def _who(purpose: str) -> st.SearchStrategy[tuple[str, ...]]:
    roles = [FITTING.get(purpose, "physician")] * 6 + ["nurse", "clerk"]
    homes = [HOMES.get(purpose, "hill")] * 6 + ORGS
    operations = ["query", "retrieve", "retrieve", "notify", "bulk", "register", "update"]
    # Who asks writes his own name, and not everybody as his patient does.
    users = USERS[2:5] * 2 if purpose in ("PATRQT", "FAMRQT", "PWATRNY") else USERS[:2] * 4 + USERS + SPELLED
    return st.sampled_from(list(product(roles, homes, operations, users)))


@cache
@st.composite
def requests(draw: Any) -> dict[str, Any]:
    purpose = draw(sampled([*PURPOSES, "TREAT", "TREAT", "BTG", "FAMRQT", "PATRQT", "HPAYMT", "HRESCH"]))
    made = fx.request(
        **dict(zip(("role", "org", "operation", "user"), draw(_who(purpose)), strict=True)), purpose=purpose
    )
    if draw(st.booleans()):
        made["relationship"] = "referral"
    if draw(number(0, 4)) == 0:
        made["careTeams"] = ["CareTeam/t1"]
    if purpose == "BTG" and draw(number(0, 9)):
        grant = fx.emergency()["breakGlass"]
        grant |= {
            "user": made["user"],
            "org": made["org"],
            "start": "2026-06-15T09:30:00Z",
            "end": "2026-06-15T13:00:00Z",
        }
        changed = draw(sampled([{}] * 8 + [{"status": "ended"}, {"user": "Practitioner/x"}, {"org": "lake-eye"},
                                                   {"patient": "bea"}, {"text": ""}, {"end": "2026-06-15T12:00:00Z"},
                                                   {"start": "2026-06-15T08:00:00Z"}]))  # fmt: skip
        made["breakGlass"] = grant | changed
    if "PATRQT" in (fx.FIXTURE["purposeParent"].get(purpose), purpose) and draw(number(0, 6)):
        grant = {"person": made["user"], "patient": "ada", "kind": "attorney", "status": "active", "maxConfidentiality": "R",
                 "period": {"start": "2025-01-01"}}  # fmt: skip
        changed = draw(sampled([{}] * 6 + [{"status": "suspended"}, {"person": "RelatedPerson/x"}, {"kind": "parent"},
                                                   {"kind": "parent"}, {"maxConfidentiality": "N"},
                                                   {"period": {"end": "2026-06-14"}}]))  # fmt: skip
        made["proxyGrant"] = grant | changed
    return made


PAYERS_NOT = {"id": "X-1", "recipientTypes": ["payer"], "labels": ["MH"], "codes": ["http://snomed.info/sct|56717001"]}
# What the override of a case may change beside the patient: every part of a fixture.
OVERRIDES: list[dict[str, Any]] = [
    {"organizations": {"hill": {"agreement": {"purposes": ["TREAT"]}}}},
    {"organizations": {"hill": {"agreement": {"period": {"end": "2026-06-15"}}}}},
    {"organizations": {"hill": {"agreement": {"period": {"end": "soon"}}}}},
    {"organizations": {"hill": {"partOf": "lake", "agreement": None}}},
    {"organizations": {"hill": {"partOf": "nowhere"}}},
    {"organizations": {"lake": {"partOf": "lake-eye"}}},
    {"organizations": {"lake": {"status": "suspended"}}},
    {"organizations": {"lake": {"jurisdiction": "JB"}, "lake-eye": {"part2Program": True}}},
    {"organizations": {"lake": {"releasePolicy": [PAYERS_NOT, {"id": "X-2", "classes": [ALIASED[0]], "absolute": True}]}}},
    {"organizations": {"hill": {"requiresRelationship": True}}},
    {"organizations": {"lake": None}},
    {"jurisdictions": {"JA": {"default": {"ceiling": "N", "excludeLabels": ["MH"]}}}},
    {"jurisdictions": {"JA": {"default": {"model": "opt-in"}}, "JB": {"default": {"model": "opt-out", "purposes": ["TREAT"], "ceiling": "R", "excludeLabels": []}}}},
    {"jurisdictions": {"JA": {"prohibitions": [{"id": "X-3", "codes": [ALIASED[1]], "emergencyOverride": True}]}}},
    {"jurisdictions": {"JA": {"mandates": [{"id": "X-4", "purposes": ["TREAT"], "classes": [ALIASED[2]]}]}}},
    {"jurisdictions": {"JA": {"mandates": [{"id": "X-5", "codes": ["|CLN", *CODES]}],
                              "prohibitions": [{"id": "X-6", "codes": ["38341003"], "minConfidentiality": "R"}]}}},
    {"organizations": {"lake": {"releasePolicy": [{"id": "X-7", "classes": ["|18842-5", CLASSES[0]]}]}}},
    {"jurisdictions": {"JA": {"timezone": "Pacific/Kiritimati", "breakGlassRefusal": False}}},
    {"jurisdictions": {"JA": {"majorityAge": 16, "confidentialAge": 9, "confidentialLabels": ["GDIS"]}}},
    {"jurisdictions": {"JA": {"timezone": "Nowhere/Land"}}},
    {"labelParent": {"HIV": "STD"}, "labelFloor": {"STD": "V"}},
    {"labelMayMean": {"BH": ["MH", "SUD", "COGN"], "SEX": ["STD", "SDV"], "VIO": ["42CFRPart2"]}},
    {"purposeParent": {"COC": "HOPERAT"}, "roles": {"physician": ["TREAT", "HOPERAT"]}},
    {"hub": {"breakGlassMaxHours": 1}},
]  # fmt: skip


@cache
@st.composite
def cases(draw: Any, *, wild: bool = False) -> dict[str, Any]:
    override: dict[str, Any] = {}
    if draw(number(0, 2)) == 0:
        override = copy.deepcopy(draw(sampled(OVERRIDES)))
    jurisdiction = draw(sampled(["JA"] * 8 + ["JB"] * 4 + ["ZZ"]))
    births = ["1970-04-01"] * 8 + [
        "2011-01-20",
        "2012-06-15",
        "2017-07-07",
        "2008-02-29",
        "2008",
        "2012-06",
        "soon",
        None,
    ]
    birth = draw(sampled(births))
    override["patients"] = {"ada": {"jurisdiction": jurisdiction, "birthDate": birth}}
    if draw(number(0, 9)) == 0 and "organizations" not in override:
        override["organizations"] = {draw(sampled(ORGS)): {"agreement": {"status": "suspended"}}}
    filed, asked, about = draw(st.lists(consents(wild=wild), max_size=3)), draw(requests()), draw(documents())
    # Two of three pass the gate and are about this patient, so that directives get a say.
    if draw(number(0, 2)):
        asked |= {"org": HOMES.get(asked["purpose"], "hill"), "role": FITTING.get(asked["purpose"], "physician")}
        about["patient"] = draw(sampled(["ada", "ada", "ada-old"]))
        about["labels"] = [one for one in about["labels"] if one in LABELS]
        about["custodian"] = draw(sampled(["lake", "lake", "lake-mind", "mer", "shore", "hill"]))
        if "breakGlass" in asked and asked["breakGlass"]["org"] not in ("lake-eye",):
            asked["breakGlass"]["org"] = asked["org"]
        if about.get("confidentiality") == "X":
            about["confidentiality"] = "R"
        override["patients"]["ada"]["jurisdiction"] = "JA" if jurisdiction == "ZZ" else jurisdiction
    # Rules that random cases seldom reach are helped along: refused emergencies, teenagers, denied proxies.
    help_along = draw(number(0, 2))
    if asked["purpose"] == "BTG" and help_along == 0:
        filed.append(fx.consent(fx.node("permit", fx.node("deny", purpose=fx.purposes("BTG")))))
    if asked["purpose"] in ("FAMRQT", "PWATRNY") and help_along:
        asked |= {"org": "door", "role": "proxy", "user": "RelatedPerson/max"}
        asked["proxyGrant"] = {"person": "RelatedPerson/max", "patient": "ada", "kind": "parent", "status": "active",
                               "maxConfidentiality": "R"}  # fmt: skip
        override["patients"]["ada"]["birthDate"] = "2011-01-20"
        about |= {"custodian": "lake", "patient": "ada", "labels": draw(sampled([["SEX"], ["STD"], []]))}
        about.pop("derivedFrom", None)
        if help_along == 2:
            kind = draw(sampled(["permit", "deny"]))
            filed.append(fx.consent(fx.node("permit", fx.node(kind, actor=fx.to("RelatedPerson/max")))))
    return fx.case(
        *filed,
        now=draw(sampled([fx.NOW] * 6 + NOWS)),
        request=asked,
        document=about,
        fixtureOverride=override,
    )
