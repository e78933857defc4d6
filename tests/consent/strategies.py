"""Random cases: well-formed mostly, in every corner the rules know."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.consent import fixture as fx

ORGS = sorted(fx.FIXTURE["organizations"])
USERS = ["Practitioner/ivo", "Practitioner/una", "Patient/ada", "Patient/ada-old", "RelatedPerson/max", "Device/d1"]
PURPOSES = ["TREAT", "ETREAT", "COC", "BTG", "HPAYMT", "COVERAGE", "HOPERAT", "HRESCH", "CLINTRCH", "PUBHLTH", "HLEGAL",
            "PATRQT", "FAMRQT", "PWATRNY", "HMARKT"]  # fmt: skip
LABELS = ["MH", "PSY", "PSYTHPN", "SUD", "OPIOIDUD", "HIV", "STD", "SEX", "PREGNANT", "SDV", "VIO", "GDIS", "SICKLE", "DEMO",
          "42CFRPart2", "NOPAT", "BH"]  # fmt: skip
DATES = ["2025", "2026", "2027", "2026-05", "2026-06", "2026-06-14", "2026-06-15", "2026-06-16", "2026-05-01",
         "2026-06-15T12:00Z", "2026-06-15T12:00:00Z", "2026-06-15T07:59:59.999-04:00", "2026-06-15T08:00:00.000-04:00"]  # fmt: skip
NOWS = ["2026-06-15T12:00:00Z", "2026-06-15T03:59:59Z", "2026-06-15T04:00:00Z", "2026-12-31T23:30:00Z", "2029-01-20T05:00:00Z",
        "2029-01-20T04:59:59Z", "2026-02-28T12:00:00Z", "2026-03-01T05:00:00Z"]  # fmt: skip
CLASSES = ["http://loinc.org|34133-9", "http://loinc.org|11488-4", "http://loinc.org|18842-5"]
CODES = ["http://snomed.info/sct|56717001", "http://snomed.info/sct|38341003"]
SYSTEM_SPELLINGS = {
    "v3-ActReason": ["urn:oid:2.16.840.1.113883.5.8", "http://hl7.org/fhir/v3/ActReason", "http://example.org/other"],
    "v3-ActCode": ["urn:oid:2.16.840.1.113883.5.4", "http://hl7.org/fhir/v3/ActCode"],
    "v3-Confidentiality": ["urn:oid:2.16.840.1.113883.5.25", "http://hl7.org/fhir/v3/Confidentiality"],
}


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


def some(values: list[str], most: int = 2) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


@st.composite
def codings(draw: Any, system: str, values: list[str]) -> list[dict[str, str]]:
    spelled = st.sampled_from([fx.HL7 + system] * 6 + SYSTEM_SPELLINGS.get(system, []))
    return [{"system": draw(spelled), "code": code} for code in draw(some(values, 3))]


@st.composite
def security_labels(draw: Any) -> list[dict[str, str]]:
    letters = draw(maybe(codings("v3-Confidentiality", list("LNRV"))))
    sensitive = draw(maybe(codings("v3-ActCode", LABELS)))
    return [*(letters or []), *(sensitive or [])] or fx.labels("R")


@st.composite
def period(draw: Any) -> dict[str, str]:
    made = {"start": draw(maybe(st.sampled_from(DATES))), "end": draw(maybe(st.sampled_from(DATES)))}
    return {k: v for k, v in made.items() if v}


@st.composite
def actors(draw: Any) -> list[dict[str, Any]]:
    reference = st.one_of(
        st.sampled_from([f"Organization/{o}" for o in ORGS] + USERS + ["CareTeam/t1"]).map(lambda r: {"reference": r}),
        st.sampled_from(
            [
                ("urn:hie:role", "physician"),
                ("urn:hie:org-type", "payer"),
                ("urn:hie:org-type", "hospital"),
                ("urn:oid:2.999.7", "lake"),
            ]
        ).map(lambda i: {"identifier": {"system": i[0], "value": i[1]}}),
    )
    role = st.sampled_from(["IRCP"] * 5 + ["PRCP", "CST", "CST", "AUT", "TRC"])
    return [fx.actor(draw(role), **draw(reference)) for _ in range(draw(st.integers(1, 2)))]


@st.composite
def criteria(draw: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    chosen = draw(st.sets(st.sampled_from(["purpose", "actor", "securityLabel", "class", "code", "action", "data",
                                           "period", "dataPeriod"]), max_size=2))  # fmt: skip
    if "purpose" in chosen:
        made["purpose"] = draw(codings("v3-ActReason", PURPOSES))
    if "actor" in chosen:
        made["actor"] = draw(actors())
    if "securityLabel" in chosen:
        made["securityLabel"] = draw(security_labels())
    if "class" in chosen:
        made["class"] = [dict(zip(("system", "code"), c.split("|"), strict=True)) for c in draw(some(CLASSES))]
    if "code" in chosen:
        made["code"] = [
            {"coding": [dict(zip(("system", "code"), c.split("|"), strict=True))]} for c in draw(some(CODES))
        ]
    if "action" in chosen:
        made["action"] = [
            {"coding": draw(codings("consentaction", ["collect", "access", "use", "disclose", "correct"]))}
        ]
    if "data" in chosen:
        made["data"] = [
            {
                "meaning": draw(st.sampled_from(["instance", "related", "dependents", "authoredby"])),
                "reference": {
                    "reference": draw(
                        st.sampled_from(
                            ["DocumentReference/d", "DocumentReference/x", "Encounter/e", "Practitioner/una"]
                        )
                    )
                },
            }
        ]
    for member in {"period", "dataPeriod"} & chosen:
        made[member] = draw(period())
    return made


@st.composite
def provisions(draw: Any, depth: int = 3) -> dict[str, Any]:
    children = draw(st.lists(provisions(depth=depth - 1), max_size=2)) if depth else []
    return fx.node(draw(st.sampled_from(["permit", "permit", "deny"])), *children, **draw(criteria()))


@st.composite
def consents(draw: Any) -> dict[str, Any]:
    made = fx.consent(draw(provisions()), patient=draw(st.sampled_from(["ada"] * 6 + ["ada-old", "bea"])))
    made["id"] = draw(st.sampled_from("abcdef"))
    made["status"] = draw(st.sampled_from(["active"] * 8 + ["inactive"]))
    made["dateTime"] = draw(st.sampled_from(["2026-01-01"] * 6 + DATES))
    if draw(st.integers(0, 9)) == 0:
        made["scope"] = {"coding": [fx.coding("consentscope", draw(st.sampled_from(["research", "treatment"])))]}
    oddity = draw(st.integers(0, 30))
    if oddity == 0:
        made["policyRule"] = fx.rule(draw(st.sampled_from(["OPTIN", "OPTOUT", "42CFRPart2CD"])))
    elif oddity == 1:
        made["provision"].pop("type")
        made["policyRule"] = fx.rule(*draw(some(["OPTIN", "OPTOUT", "42CFRPart2CD"])))
    elif oddity == 2:
        made["modifierExtension"] = [{"url": "urn:x"}]
    elif oddity == 3:
        made["provision"]["period"] = {"end": "soon"}
    return made


@st.composite
def documents(draw: Any, sources: int = 1) -> dict[str, Any]:
    made = fx.document(
        patient=draw(st.sampled_from(["ada"] * 8 + ["ada-old", "bea"])),
        custodian=draw(st.sampled_from(["lake"] * 4 + ORGS)),
        labels=draw(st.lists(st.sampled_from(LABELS), max_size=2, unique=True)),
        labelled=draw(st.sampled_from([True] * 5 + [False])),
    )
    made["class"] = draw(st.lists(st.sampled_from(CLASSES), max_size=2, unique=True))
    letter = draw(maybe(st.sampled_from("ULMNNNRV")))
    made.pop("confidentiality")
    if letter:
        made["confidentiality"] = letter
    optional = {
        "codes": draw(maybe(some(CODES))),
        "authors": draw(maybe(st.just(["Practitioner/una"]))),
        "encounter": draw(maybe(st.just("Encounter/e"))),
        "related": draw(maybe(st.just(["DocumentReference/x"]))),
        "dependsOn": draw(maybe(st.just(["DocumentReference/x"]))),
        "serviceStart": draw(maybe(st.sampled_from(["2026-05-01", "2025-12-30", "2026-06"]))),
    }
    made |= {k: v for k, v in optional.items() if v}
    if "serviceStart" in made and draw(st.booleans()):
        made["serviceStop"] = draw(st.sampled_from(["2026-07-01", "2026-08"]))
    if draw(st.integers(0, 8)) == 0:
        made.pop("created")
    if sources and draw(st.integers(0, 8)) == 0:
        made["derivedFrom"] = draw(st.lists(documents(sources=0), min_size=1, max_size=2))
    return made


@st.composite
def requests(draw: Any) -> dict[str, Any]:
    purpose = draw(st.sampled_from([*PURPOSES, "TREAT", "TREAT", "BTG", "FAMRQT", "PATRQT", "HPAYMT", "HRESCH"]))
    fitting = {"HPAYMT": "billing", "COVERAGE": "billing", "HRESCH": "researcher", "CLINTRCH": "researcher",
               "PUBHLTH": "public-health-officer", "HLEGAL": "investigator", "PATRQT": "patient", "FAMRQT": "proxy",
               "PWATRNY": "proxy"}  # fmt: skip
    homes = {"HPAYMT": "coin", "COVERAGE": "coin", "HRESCH": "study", "CLINTRCH": "study", "PUBHLTH": "watch",
             "HLEGAL": "guard", "PATRQT": "door", "FAMRQT": "door", "PWATRNY": "door"}  # fmt: skip
    made = fx.request(
        purpose=purpose,
        role=draw(st.sampled_from([fitting.get(purpose, "physician")] * 6 + ["nurse", "clerk"])),
        org=draw(st.sampled_from([homes.get(purpose, "hill")] * 6 + ORGS)),
        operation=draw(st.sampled_from(["query", "retrieve", "retrieve", "notify", "bulk", "register", "update"])),
        user=draw(
            st.sampled_from(USERS[2:5] * 2 if purpose in ("PATRQT", "FAMRQT", "PWATRNY") else USERS[:2] * 4 + USERS)
        ),
    )
    if draw(st.booleans()):
        made["relationship"] = "referral"
    if draw(st.integers(0, 4)) == 0:
        made["careTeams"] = ["CareTeam/t1"]
    if purpose == "BTG" and draw(st.integers(0, 9)):
        grant = fx.emergency()["breakGlass"]
        grant |= {
            "user": made["user"],
            "org": made["org"],
            "start": "2026-06-15T09:30:00Z",
            "end": "2026-06-15T13:00:00Z",
        }
        changed = draw(st.sampled_from([{}] * 8 + [{"status": "ended"}, {"user": "Practitioner/x"}, {"org": "lake-eye"},
                                                   {"patient": "bea"}, {"text": ""}, {"end": "2026-06-15T12:00:00Z"},
                                                   {"start": "2026-06-15T08:00:00Z"}]))  # fmt: skip
        made["breakGlass"] = grant | changed
    if "PATRQT" in (fx.FIXTURE["purposeParent"].get(purpose), purpose) and draw(st.integers(0, 6)):
        grant = {"person": made["user"], "patient": "ada", "kind": "attorney", "status": "active", "maxConfidentiality": "R",
                 "period": {"start": "2025-01-01"}}  # fmt: skip
        changed = draw(st.sampled_from([{}] * 6 + [{"status": "suspended"}, {"person": "RelatedPerson/x"}, {"kind": "parent"},
                                                   {"kind": "parent"}, {"maxConfidentiality": "N"},
                                                   {"period": {"end": "2026-06-14"}}]))  # fmt: skip
        made["proxyGrant"] = grant | changed
    return made


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    override: dict[str, Any] = {}
    jurisdiction = draw(st.sampled_from(["JA", "JA", "JB"]))
    birth = draw(st.sampled_from(["1970-04-01"] * 4 + ["2011-01-20", "2012-06-15", "2017-07-07", "2008-02-29"]))
    override["patients"] = {"ada": {"jurisdiction": jurisdiction, "birthDate": birth}}
    if draw(st.integers(0, 9)) == 0:
        override["organizations"] = {draw(st.sampled_from(ORGS)): {"agreement": {"status": "suspended"}}}
    filed, asked, about = draw(st.lists(consents(), max_size=3)), draw(requests()), draw(documents())
    # Rules that random cases seldom reach are helped along: refused emergencies, teenagers, denied proxies.
    help_along = draw(st.integers(0, 2))
    if asked["purpose"] == "BTG" and help_along == 0:
        filed.append(fx.consent(fx.node("permit", fx.node("deny", purpose=fx.purposes("BTG")))))
    if asked["purpose"] in ("FAMRQT", "PWATRNY") and help_along:
        asked |= {"org": "door", "role": "proxy", "user": "RelatedPerson/max"}
        asked["proxyGrant"] = {"person": "RelatedPerson/max", "patient": "ada", "kind": "parent", "status": "active",
                               "maxConfidentiality": "R"}  # fmt: skip
        override["patients"]["ada"]["birthDate"] = "2011-01-20"
        about |= {"custodian": "lake", "patient": "ada", "labels": draw(st.sampled_from([["SEX"], ["STD"], []]))}
        about.pop("derivedFrom", None)
        if help_along == 2:
            kind = draw(st.sampled_from(["permit", "deny"]))
            filed.append(fx.consent(fx.node("permit", fx.node(kind, actor=fx.to("RelatedPerson/max")))))
    return fx.case(
        *filed,
        now=draw(st.sampled_from([fx.NOW] * 6 + NOWS)),
        request=asked,
        document=about,
        fixtureOverride=override,
    )
