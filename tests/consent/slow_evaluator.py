"""A second evaluator, slow and plain, written from the text of the specification.

It imports nothing of the engine and works on the JSON of a case directly, so that
a slip in the engine's compiling, caching or ordering shows as a difference. A Consent
may have any shape; the rest of a case must have the form of section 20, though dates,
letters and labels in it may be wrong.

What the text leaves open is read by its own first section: what is uncertain closes. A
permit must match under every reading, a deny under one; the comments say of what.

Source: spec/consent.md sections 1 to 6.
"""

# ruff: noqa: SIM102 - nested as the text of the rules is nested
from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

HL7 = "http://terminology.hl7.org/CodeSystem/"
SAME_SYSTEM = {
    "http://hl7.org/fhir/v3/ActReason": HL7 + "v3-ActReason",
    "http://hl7.org/fhir/v3/Confidentiality": HL7 + "v3-Confidentiality",
    "http://hl7.org/fhir/v3/ActCode": HL7 + "v3-ActCode",
    "http://hl7.org/fhir/v3/ParticipationType": HL7 + "v3-ParticipationType",
    "urn:oid:2.16.840.1.113883.5.8": HL7 + "v3-ActReason",
    "urn:oid:2.16.840.1.113883.5.25": HL7 + "v3-Confidentiality",
    "urn:oid:2.16.840.1.113883.5.4": HL7 + "v3-ActCode",
}
LETTERS = "ULMNRV"
NEVER_EACH_OTHER = {"DocumentReference", "Encounter", "Patient", "Practitioner", "Organization", "Location"}
LAST = datetime(9999, 12, 31, tzinfo=UTC)
FIRST = datetime(1, 1, 2, tzinfo=UTC)


class Unintelligible(Exception):
    pass


def merge(base, over):
    out = dict(base)
    for k, v in over.items():
        out[k] = merge(out[k], v) if isinstance(v, dict) and isinstance(out.get(k), dict) else v
    return out


def require(condition):
    if not condition:
        raise Unintelligible


def listed(value):
    """A list of FHIR, which is never empty."""
    require(isinstance(value, list) and value)
    return value


def coding(item):
    """(system or None, code)."""
    require(isinstance(item, dict))
    require(isinstance(item.get("code"), str) and item["code"])
    if "system" not in item:
        return None, item["code"]
    require(isinstance(item["system"], str) and item["system"])
    return SAME_SYSTEM.get(item["system"], item["system"]), item["code"]


def concept(item):
    require(isinstance(item, dict))
    return [coding(c) for c in listed(item.get("coding"))]


def codes(codings, system):
    return [c for s, c in codings if s == HL7 + system]


def loose(codings):
    return [c for s, c in codings if s is None]


def same_spelling(text):
    system, bar, code = text.rpartition("|")
    return SAME_SYSTEM.get(system, system) + bar + code


def midnight(y, mo, d, zone):
    return datetime(y, mo, d, tzinfo=zone) if y < 10000 else LAST


def unit(text, zone):
    """First instant, and first instant after, of a FHIR date."""
    require(isinstance(text, str))
    try:
        return read_unit(text, zone)
    except (ValueError, OverflowError) as problem:
        raise Unintelligible(text) from problem


def read_unit(text, zone):
    if m := re.fullmatch(r"([0-9]{4})", text):
        y = int(m[1])
        a, b = midnight(y, 1, 1, zone), midnight(y + 1, 1, 1, zone)
    elif m := re.fullmatch(r"([0-9]{4})-([0-9]{2})", text):
        y, mo = int(m[1]), int(m[2])
        a = midnight(y, mo, 1, zone)
        b = midnight(y + mo // 12, mo % 12 + 1, 1, zone)
    elif m := re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", text):
        d = date(int(m[1]), int(m[2]), int(m[3]))
        n = d + timedelta(days=1)
        a, b = midnight(d.year, d.month, d.day, zone), midnight(n.year, n.month, n.day, zone)
    elif m := re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2})(:[0-9]{2})?(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})", text
    ):
        seconds = m[2] or ":00"
        offset = "+00:00" if m[4] == "Z" else m[4]
        a = datetime.fromisoformat(m[1] + seconds + (m[3] or "") + offset)
        step = timedelta(milliseconds=1) if m[3] else timedelta(seconds=1) if m[2] else timedelta(minutes=1)
        b = a.astimezone(UTC) + step
    else:
        raise Unintelligible(text)
    return a.astimezone(UTC), b.astimezone(UTC)


def span(period, zone):
    require(isinstance(period, dict))
    start = unit(period["start"], zone)[0] if "start" in period else FIRST
    end = unit(period["end"], zone)[1] if "end" in period else LAST
    return start, end


def spellings(name):
    """The ways in which somebody named so may be written elsewhere."""
    name, bare = name, name.strip().split("/_history/")[0]
    parts = bare.split("/")
    found = {name, bare, parts[-1], "/".join(parts[-2:])}
    people = ["Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Device"]
    if len(parts) < 2 or parts[-2] not in people:
        found |= {f"{kind}/{parts[-1]}" for kind in people}
    return found


def check_dates(value, name=""):
    """5.3: an unreadable date anywhere. A date is told by its name in FHIR."""
    if isinstance(value, list):
        for one in value:
            check_dates(one, name)
    if not isinstance(value, dict):
        return
    in_period = name == "period" or name.endswith("Period")
    for key, inner in value.items():
        plain = key[1:] if key.startswith("_") else key
        if (
            plain in ("date", "dateTime", "lastUpdated", "creation", "created", "recorded", "issued")
            or plain.endswith(("Date", "DateTime", "Instant"))
            or (in_period and plain in ("start", "end"))
        ):
            # "_end" alone is a date that says of itself that it has no value.
            require(plain in value)
            if key == plain:
                unit(inner, UTC)
        check_dates(inner, key)


def check_modifiers(value):
    """5.3: on Consent or provision, with their parts; what is contained or in an extension is something else."""
    if isinstance(value, list):
        for one in value:
            check_modifiers(one)
    if isinstance(value, dict):
        require("modifierExtension" not in value)
        for key, inner in value.items():
            if key not in ("contained", "extension"):
                check_modifiers(inner)


ZONES = available_timezones()


class Case:
    def __init__(self, fixture, case):
        self.fx = merge(fixture, case.get("fixtureOverride") or {})
        self.case = case
        self.req = case["request"]
        self.now = datetime.fromisoformat(case["now"])
        self.patient = self.fx["patients"][case["patient"]]
        self.ids = {case["patient"], *self.patient.get("linked", [])}
        self.pj = self.jurisdiction(self.patient["jurisdiction"])
        self.zone = ZoneInfo(self.pj["timezone"]) if self.pj else None
        self.purpose = self.req.get("purpose")

    # organizations
    def org(self, name):
        return self.fx["organizations"].get(name)

    def line(self, name):
        """An organization and all above it; none when that cannot be told."""
        found = []
        while name is not None:
            if self.org(name) is None or name in found:
                return []
            found.append(name)
            name = self.org(name).get("partOf")
        return found

    def inherited(self, name, member):
        for one in self.line(name):
            if self.org(one).get(member) is not None:
                return self.org(one)[member]
        return None

    def root(self, name):
        return self.line(name)[-1]

    def law(self, name):
        return self.jurisdiction(self.inherited(name, "jurisdiction"))

    def jurisdiction(self, code):
        """The law of a place; one whose clock cannot be read is unknown."""
        law = self.fx["jurisdictions"].get(code)
        return law if law and law["timezone"] in ZONES else None

    def active(self, name):
        if not self.line(name) or self.law(name) is None:
            return False
        if any((self.org(one).get("status") or "active") != "active" for one in self.line(name)):
            return False
        agreement = self.inherited(name, "agreement")
        if agreement is None or agreement.get("status") != "active":
            return False
        try:
            start, end = span(agreement.get("period") or {}, ZoneInfo(self.law(name)["timezone"]))
        except Unintelligible:
            return False
        return start <= self.now < end

    # codes
    def up(self, code, table):
        out = []
        while code is not None:
            out.append(code)
            code = self.fx[table].get(code)
        return out

    def family(self):
        return self.up(self.purpose, "purposeParent")

    def listed(self, purposes):
        if self.purpose == "BTG":
            return "BTG" in purposes
        return any(p in purposes for p in self.family())

    # documents
    def labels(self, doc):
        own = set(doc.get("labels", []))
        if self.inherited(doc["custodian"], "part2Program"):
            own.add("42CFRPart2")
        return own

    def carries(self, doc, label):
        return any(label in self.up(one, "labelParent") for one in self.labels(doc))

    def may_carry(self, doc, label):
        """What closes goes also by what a label leaves open: BH may be mental health, or substance use, or another."""
        open_ = self.fx.get("labelMayMean", {})
        meant = {one for given in self.labels(doc) for one in open_.get(given, [])}
        return self.carries(doc, label) or any(label in self.up(one, "labelParent") for one in meant)

    def level(self, doc):
        levels = [LETTERS.index(doc.get("confidentiality") or "R")]
        if not doc.get("labelled", True):
            levels.append(LETTERS.index("R"))
        levels += [LETTERS.index(letter) for la, letter in self.fx["labelFloor"].items() if self.carries(doc, la)]
        return max(levels)

    def own(self, doc):
        return self.root(self.req["org"]) == self.root(doc["custodian"])

    def age_reached(self, years, surely):
        """Of a birth date that leaves the day open, surely is by its last day, perhaps by its first."""
        born = self.patient.get("birthDate")
        try:
            first, after = unit(born, UTC)
            require("T" not in born)
        except Unintelligible:
            return not surely
        day = (after - timedelta(days=1)).date() if surely else first.date()
        try:
            day = date(day.year + years, day.month, day.day)
        except ValueError:
            day = date(day.year + years, 3, 1)
        return self.now >= datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    # directives
    def in_force(self, consent):
        """5.1; what cannot be read of it leaves it in force, and `check` makes it deny."""
        if not isinstance(consent, dict):
            return True
        if consent.get("status") in ("draft", "proposed", "rejected", "inactive", "entered-in-error"):
            return False
        try:
            if self.about(consent) not in self.ids:
                return False
        except Unintelligible:
            pass
        if not self.scope(consent)[0]:
            return False
        try:
            if "dateTime" in consent and self.now < unit(consent["dateTime"], self.zone)[0]:
                return False
        except Unintelligible:
            pass
        provision = consent.get("provision")
        if isinstance(provision, dict) and "period" in provision:
            try:
                start, end = span(provision["period"], self.zone)
            except Unintelligible:
                return True
            return start <= self.now < end
        return True

    def about(self, consent):
        patient = consent.get("patient")
        require(isinstance(patient, dict) and isinstance(patient.get("reference"), str))
        m = re.fullmatch(r"Patient/([^/]+)(/_history/.*)?", patient["reference"])
        require(m)
        return m[1]

    def scope(self, consent):
        """(may it be in force by its scope, is that certain)."""
        try:
            codings = concept(consent.get("scope"))
        except Unintelligible:
            return True, False
        research = "HRESCH" in self.family()
        sure = codes(codings, "consentscope")
        if "patient-privacy" in sure:
            return True, True
        # A code without a system may be one of the system, one the system does not have may be anything.
        unsure = loose(codings)
        unknown = any(c not in ("patient-privacy", "research", "treatment", "adr") for c in sure + unsure)
        if "patient-privacy" in unsure or unknown:
            return True, False
        if "research" in sure:
            return research, True
        return "research" in unsure and research, "research" not in unsure

    def check(self, consent):
        """Raise Unintelligible, else give the base decision."""
        require(isinstance(consent, dict) and consent.get("resourceType", "Consent") == "Consent")
        require(consent.get("status") == "active")  # missing or unknown: not known to be out of force
        require("implicitRules" not in consent)  # rules that nobody here knows
        self.about(consent)
        require(self.scope(consent)[1])
        check_modifiers(consent)
        check_dates(consent)
        sure, perhaps = set(), set()
        if "policyRule" in consent:
            rule = consent["policyRule"]
            require(isinstance(rule, dict))
            codings = concept(rule) if "coding" in rule else []
            opted = {"OPTIN": "permit", "OPTINR": "permit", "OPTOUT": "deny", "OPTOUTE": "deny"}
            sure = {opted[c] for c in codes(codings, "v3-ActCode") if c in opted}
            # Without a system it is no base decision, though it may contradict one.
            perhaps = sure | {opted[c] for c in loose(codings) if c in opted}
        provision = consent.get("provision", {})
        require(isinstance(provision, dict) and provision.get("type", "permit") in ("permit", "deny"))
        stated = {provision["type"]} if "type" in provision else set()
        require(len(stated | perhaps) <= 1 and (stated or sure))
        self.check_node(provision)
        return (stated or sure).pop()

    def check_node(self, node):
        require(isinstance(node, dict))
        require(node.get("type", "permit") in ("permit", "deny"))
        for member in ("purpose", "class", "securityLabel"):
            if member in node:
                [coding(c) for c in listed(node[member])]
        for member in ("action", "code"):
            if member in node:
                [concept(c) for c in listed(node[member])]
        for member in ("period", "dataPeriod"):
            if member in node:
                span(node[member], self.zone)
        for actor in listed(node["actor"]) if "actor" in node else []:
            require(isinstance(actor, dict))
            if "role" in actor:
                require(isinstance(actor["role"], dict))
                if "coding" in actor["role"]:
                    concept(actor["role"])
            if "reference" in actor:
                self.check_reference(actor["reference"])
        for data in listed(node["data"]) if "data" in node else []:
            require(isinstance(data, dict))
            require(data.get("meaning") is None or isinstance(data["meaning"], str))
            if data.get("reference") is not None:
                require(isinstance(data["reference"], dict))
                text = data["reference"].get("reference")
                require(text is None or isinstance(text, str))
        children = node.get("provision", [])
        require(isinstance(children, list))  # an empty list of exceptions is no exception
        for child in children:
            require(isinstance(child, dict) and "type" in child)
            self.check_node(child)

    def check_reference(self, ref):
        require(isinstance(ref, dict))
        if "reference" in ref:
            require(isinstance(ref["reference"], str) and ref["reference"])
        if "identifier" in ref:
            require(isinstance(ref["identifier"], dict))
            for part in ("system", "value"):
                require(ref["identifier"].get(part) is None or isinstance(ref["identifier"][part], str))

    def kinds(self, actor):
        """The kinds an actor may be of."""
        role = actor.get("role", {})
        if "coding" not in role:
            return ["recipient", "custodian", "author", "other"]
        known = {"IRCP": "recipient", "PRCP": "recipient", "CST": "custodian", "AUT": "author"}
        codings = concept(role)
        sure = {known[c] for c in codes(codings, "v3-ParticipationType") if c in known}
        unsure = {known[c] for c in loose(codings) if c in known}
        return sorted(sure | unsure) if sure else [*sorted(unsure), "other"]

    def applies(self, node, kind, doc, is_root):
        if not is_root and "period" in node:
            start, end = span(node["period"], self.zone)
            if not start <= self.now < end:
                return False
        if "purpose" in node and not any(p in self.family() for p in self.lists(node, kind)):
            return False
        if "action" in node:
            acts = {"bulk": ["access", "use"], "register": ["collect"], "update": ["correct"]}.get(
                self.req["operation"], ["access"]
            )
            if "access" in acts and not self.own(doc):
                acts = [*acts, "disclose"]
            codings = [c for one in node["action"] for c in concept(one)]
            named = codes(codings, "consentaction") + (loose(codings) if kind == "deny" else [])
            if not any(a in acts for a in named):
                return False
        actors = node.get("actor", [])
        readings = itertools.product(*(self.kinds(actor) for actor in actors))
        results = [self.actors_match(zip(reading, actors, strict=True), kind, doc) for reading in readings]
        return all(results) if kind == "permit" else any(results)

    def actors_match(self, reading, kind, doc):
        kinds = {}
        for name, actor in reading:
            kinds.setdefault(name, []).append(actor.get("reference"))
        for name, references in kinds.items():
            if name == "other":
                matched = kind == "deny"
            else:
                matched = any(self.is_meant(ref, kind, *getattr(self, name)(doc)) for ref in references)
            if not matched:
                return False
        return True

    def is_meant(self, ref, kind, exact, broad, identifiers):
        """Whether a Reference means who goes by these references and (system, value) pairs."""
        ref = ref or {}
        text = ref.get("reference", "").split("/_history/")[0]
        if text.startswith("#"):
            text = ""
        identifier = ref.get("identifier", {})
        system, value = identifier.get("system"), identifier.get("value")
        by_reference = text in exact
        by_identifier = bool(system and value) and (system, value) in identifiers
        if kind == "permit":
            # With both, both must mean the one who asks.
            return (
                (by_reference or by_identifier)
                and (by_reference or not text)
                and (by_identifier or not (system and value))
            )
        if by_reference or by_identifier:
            return True
        if "identifier" in ref and not value:
            return True
        if not text and "identifier" not in ref:
            return True
        if ref.get("reference", "").startswith("#"):
            return True
        if text and (text in broad or "/".join(text.split("/")[-2:]) in broad):
            return True
        return bool(value and not system) and value in [v for _, v in identifiers]

    def recipient(self, doc):
        line, user = self.line(self.req["org"]), self.req["user"]
        teams = [t if "/" in t else f"CareTeam/{t}" for t in self.req.get("careTeams", [])]
        exact = {f"Organization/{o}" for o in line} | {t for t in teams if t.startswith("CareTeam/")}
        if user.split("/")[0] in ("Practitioner", "RelatedPerson", "Patient", "Device"):
            exact.add(user)
        known = [(i["system"], i["value"]) for o in line for i in self.org(o).get("identifiers", [])]
        known.append(("urn:hie:role", self.req["role"]))
        known.append(("urn:hie:org-type", self.inherited(self.req["org"], "type")))
        return exact, exact | set(line).union(*(spellings(name) for name in (user, *teams))), known

    def custodian(self, doc):
        line = self.line(doc["custodian"])
        exact = {f"Organization/{o}" for o in line}
        known = [(i["system"], i["value"]) for o in line for i in self.org(o).get("identifiers", [])]
        return exact, exact | set(line), [*known, ("urn:hie:org-type", self.inherited(doc["custodian"], "type"))]

    def author(self, doc):
        authors = doc.get("authors", [])
        return (
            authors,
            [*authors, *(a.split("/")[-1] for a in authors)],
            [tuple(a.split("|", 1)) if "|" in a else ("", a) for a in authors],
        )

    def content(self, node, kind, doc):
        if "class" in node and not self.has_code([coding(c) for c in node["class"]], kind, doc.get("class", [])):
            return False
        if "code" in node:
            if not self.has_code([c for cc in node["code"] for c in concept(cc)], kind, doc.get("codes", [])):
                return False
        if "securityLabel" in node:
            codings = [coding(c) for c in node["securityLabel"]]
            letters, sens = codes(codings, "v3-Confidentiality"), codes(codings, "v3-ActCode")
            more_letters = [c for c in loose(codings) if c in LETTERS]
            more_sens = [c for c in loose(codings) if c not in LETTERS]
            if kind == "permit":
                # Whether or not the codes without a system are of these two.
                if not self.reaches(letters, sens, doc):
                    return False
                if not self.reaches(letters + more_letters, sens + more_sens, doc):
                    return False
            elif not self.may_reach(letters + more_letters, sens + more_sens, doc):
                return False
        if "data" in node and not any(self.is_data(d, kind, doc) for d in node["data"]):
            return False
        if "dataPeriod" in node:
            start, end = span(node["dataPeriod"], self.zone)
            try:
                a, b = self.service_time(doc)
            except Unintelligible:
                return kind == "deny"  # no time known
            return (start <= a and b <= end) if kind == "permit" else (a < end and start < b)
        return True

    def has_code(self, wanted, kind, codings):
        codings = [same_spelling(c) for c in codings]
        if any(f"{s}|{c}" in codings for s, c in wanted if s is not None):
            return True
        if kind == "deny" and any(c in [one.lstrip("|") for one in codings if "|" not in one[1:]] for _, c in wanted):
            return True  # the document's coding has no system: it may be this one
        return kind == "deny" and any(c in [one.rpartition("|")[2] for one in codings] for c in loose(wanted))

    def reaches(self, letters, sens, doc):
        """A permit's labels: each kind that is given must match, by a code that is known."""
        if not letters and not sens:
            return False
        if letters and not any(c in LETTERS and self.level(doc) <= LETTERS.index(c) for c in letters):
            return False
        return not sens or any(self.carries(doc, c) for c in sens)

    def may_reach(self, letters, sens, doc):
        """A deny's labels: any suffices; at or above an unknown letter may be everything."""
        if any(c not in LETTERS or self.level(doc) >= LETTERS.index(c) for c in letters):
            return True
        return any(self.may_carry(doc, c) or not doc.get("labelled", True) for c in sens)

    def service_time(self, doc):
        start, stop = doc.get("serviceStart"), doc.get("serviceStop")
        if start is None:
            require(stop is None)
            return unit(doc.get("created"), self.zone)
        a, b = unit(start, self.zone)
        if stop is not None:
            b = unit(stop, self.zone)[1]
        require(a < b)
        return a, b

    def is_data(self, data, kind, doc):
        ref = (data.get("reference") or {}).get("reference")
        meaning = data.get("meaning")
        if not ref or meaning not in ("instance", "related", "dependents", "authoredby"):
            return kind == "deny"  # nobody can say what is meant
        ref = ref.split("/_history/")[0]
        if meaning == "authoredby":
            authors = doc.get("authors", [])
            known = [*authors, *(a.split("/")[-1] for a in authors)]
            return ref in authors or (kind == "deny" and (ref in known or "/".join(ref.split("/")[-2:]) in known))
        things = [("DocumentReference", doc["id"])]
        if meaning == "related":
            things += [("Encounter", e) for e in [doc.get("encounter")] if e is not None]
            things += [("DocumentReference", r) for r in doc.get("related", [])]
        if meaning == "dependents":
            things += [("DocumentReference", r) for r in doc.get("dependsOn", [])]
        for type_, thing in things:
            if ref in (thing, f"{type_}/{thing}" if "/" not in thing and ":" not in thing else thing):
                return True
            if kind == "deny" and ref.split("/")[-1] == thing.split("/")[-1]:
                said, known = ref.split("/")[-2:-1], thing.split("/")[-2:-1] or [type_]
                if not said or said == known or not {*said, *known} <= NEVER_EACH_OTHER:
                    return True
        return False

    def nested(self, node, doc, path):
        """(outcome, paths) of a node that matches, else None."""
        path = [*path, node]
        if not self.applies(node, node["type"], doc, False) or not self.content(node, node["type"], doc):
            return None
        return self.children(node, doc, path) or (node["type"], [path])

    def children(self, node, doc, path):
        results = [r for r in (self.nested(c, doc, path) for c in node.get("provision", [])) if r]
        for kind in ("deny", "permit"):
            paths = [p for outcome, ps in results if outcome == kind for p in ps]
            if paths:
                return kind, paths
        return None

    def verdict(self, doc):
        found = {}
        for consent in self.case["consents"]:
            if not self.in_force(consent):
                continue
            try:
                base = self.check(consent)
            except Unintelligible:
                # Names nobody, lists no purpose.
                found.setdefault("deny", []).append((consent, []))
                continue
            root = {**consent.get("provision", {}), "type": base}
            if not self.applies(root, base, doc, True):
                continue
            result = self.children(root, doc, [root])
            if result is None:
                if self.content(root, base, doc):
                    result = base, [[root]]
                elif base == "permit":
                    result = "weak", [[root]]
                else:
                    continue
            found.setdefault(result[0], []).extend((consent, path) for path in result[1])
        for kind in ("deny", "permit", "weak"):
            if kind in found:
                return kind, found[kind]
        return None, []

    def names(self, path, person, surely):
        """Whether an actor of a path is this very person: surely for what opens, perhaps for what closes."""
        for node in path:
            for actor in node.get("actor", []):
                kinds = self.kinds(actor)
                text = (actor.get("reference") or {}).get("reference", "").split("/_history/")[0]
                if kinds == ["recipient"] and text == person:
                    return True
                if not surely and "recipient" in kinds and spellings(person) & {text, "/".join(text.split("/")[-2:])}:
                    return True
        return False

    def lists(self, node, kind="permit"):
        """The purposes a node lists; a deny perhaps also by codes without a system."""
        codings = [coding(c) for c in node.get("purpose", [])]
        return codes(codings, "v3-ActReason") + (loose(codings) if kind == "deny" else [])

    def rule_matches(self, rule, doc, opens=False):
        """`opens`: a mandate, which reaches only what surely matches."""
        line = self.line(self.req["org"])
        tests = [
            "purposes" not in rule or any(p in rule["purposes"] for p in self.family()),
            "recipientTypes" not in rule or self.inherited(self.req["org"], "type") in rule["recipientTypes"],
            "recipients" not in rule or any(o in rule["recipients"] for o in line),
            "exceptRecipients" not in rule or not any(o in rule["exceptRecipients"] for o in line),
            "labels" not in rule
            or any(self.carries(doc, x) if opens else self.may_carry(doc, x) for x in rule["labels"]),
            "classes" not in rule or self.one_of(rule["classes"], doc.get("class", []), opens),
            "codes" not in rule or self.one_of(rule["codes"], doc.get("codes", []), opens),
            "minConfidentiality" not in rule or self.level(doc) >= LETTERS.index(rule["minConfidentiality"]),
        ]
        return all(tests)

    def one_of(self, wanted, codings, opens):
        for one in map(same_spelling, wanted):
            for other in map(same_spelling, codings):
                (system, _, code), (system2, _, code2) = one.rpartition("|"), other.rpartition("|")
                if system and one == other:
                    return True
                if not opens and code == code2 and not (system and system2):
                    return True  # without a system it may be of any
        return False

    # the procedure
    def decide(self, doc):
        req, fx = self.req, self.fx
        deny = lambda rule, reason, *basis: ("deny", rule, reason, [], list(basis))  # noqa: E731
        permit = lambda rule, reason, duties, *basis: ("permit", rule, reason, sorted(duties), list(basis))  # noqa: E731
        if not self.usable():
            return deny("G1", "invalid-request")
        if doc["patient"] not in self.ids or self.pj is None:
            return deny("G1", "invalid-request")
        # Section 3: refused at registration, so no document of this hub has them.
        if (doc.get("confidentiality") or "R") not in LETTERS or not set(doc.get("labels", [])) <= set(
            fx["labelParent"]
        ):
            return deny("G1", "invalid-request")
        if not self.active(req["org"]):
            return deny("G2", "participant-not-active", ("agreement", self.holder(req["org"]), ""))
        if not self.active(doc["custodian"]):
            return deny("G3", "custodian-not-active", ("agreement", self.holder(doc["custodian"]), ""))
        if not self.listed(self.inherited(req["org"], "agreement")["purposes"]):
            return deny("G4", "purpose-not-permitted", ("agreement", self.holder(req["org"]), ""))
        if not self.listed(fx["roles"][req["role"]]):
            return deny("G5", "role-not-permitted")
        family = self.family()
        emergency = self.purpose == "BTG"
        if (
            self.inherited(req["org"], "requiresRelationship")
            and "TREAT" in family
            and not emergency
            and not (req.get("relationship") or "").strip()
        ):
            return deny("G6", "relationship-required", ("agreement", self.holder(req["org"]), ""))
        if emergency and not self.grant_valid(req.get("breakGlass")):
            return deny("G7", "break-glass-invalid", *self.given("break-glass", "breakGlass"))
        if any(self.decide(source)[0] == "deny" for source in doc.get("derivedFrom", [])):
            return deny("X1", "derived-from-denied")
        kind, winners = self.verdict(doc)
        if "PATRQT" in family:
            return self.patient_rules(doc, kind, winners)
        law = self.law(doc["custodian"])
        level = self.level(doc)
        own_purpose = any(p in family for p in ("TREAT", "HPAYMT", "HOPERAT"))
        if self.own(doc) and own_purpose:
            if not (kind == "deny" and any(self.names(path, req["user"], False) for _, path in winners)):
                return permit("C1", "own-organization", [])
        against = [
            ("law", p["id"], "")
            for p in law.get("prohibitions", [])
            if self.rule_matches(p, doc) and not (emergency and p.get("emergencyOverride"))
        ]
        if against:
            return deny("L1", "legal-prohibition", *against)
        needed = [c for c in law.get("consentRequired", []) if self.may_carry(doc, c["label"])]
        mandates = [("law", m["id"], "") for m in law.get("mandates", []) if self.rule_matches(m, doc, opens=True)]
        if mandates and not needed:
            return permit("L2", "legal-mandate", ["ACCOUNT"], *mandates)
        kept_back = [
            ("release", r["id"], owner)
            for owner in self.line(doc["custodian"])
            for r in self.org(owner).get("releasePolicy", [])
            if self.rule_matches(r, doc) and not (emergency and not r.get("absolute"))
        ]
        if kept_back:
            return deny("O1", "release-policy", *kept_back)
        part2 = self.carries(doc, "42CFRPart2")
        if emergency and kind == "deny" and law.get("breakGlassRefusal"):
            refusing = [
                (consent, path)
                for consent, path in winners
                if any(n["type"] == "deny" and "BTG" in self.lists(n, "deny") for n in path)
            ]
            if refusing:
                return deny("D1", "patient-refused-emergency", *self.named(refusing))
        opened = ["NOTIFY-PATIENT", "REVIEW", "NOREUSE"]
        if emergency and level <= LETTERS.index("R"):
            duties = opened + (["PART2-NOTICE", "NORDSCLCD"] if part2 else [])
            return permit("D2", "break-glass", duties, *self.given("break-glass", "breakGlass"))
        if kind == "deny":
            return deny("D3", "patient-deny", *self.named(winners))
        paths = winners if kind == "permit" else []
        missing = [c for c in needed if not any(self.covers(consent, path, c) for consent, path in paths)]
        if missing:
            return deny("D4", "explicit-consent-required", *[("law", c["id"], "") for c in missing])
        if level == LETTERS.index("V"):
            if not any("V" in self.labels_of(n, "v3-Confidentiality") for _, p in paths for n in p):
                return deny("D5", "very-restricted", *self.named(winners))
        extra = []
        if "HPAYMT" in family or "HOPERAT" in family:
            extra.append("MINEC")
        if "HRESCH" in family:
            extra.append("NORELINK")
        if kind == "permit":
            if emergency:
                extra += opened
            if part2 and not self.own(doc):
                tpo = any({"TREAT", "HPAYMT", "HOPERAT"} <= set(self.lists(n)) for _, p in paths for n in p)
                extra += ["PART2-NOTICE", "REDISCLOSE-HIPAA" if tpo else "NORDSCLCD"]
            return permit("D6", "patient-permit", extra, *self.named(winners))
        if kind == "weak":
            return deny("D7", "outside-consent-scope", *self.named(winners))
        default = law["default"]
        place = ("default", self.inherited(doc["custodian"], "jurisdiction"), "")
        if default["model"] != "opt-out":
            return deny("F3", "no-consent", place)
        if (
            any(p in default["purposes"] for p in family)
            and level <= LETTERS.index(default["ceiling"])
            and doc.get("labelled", True)
            and not any(self.may_carry(doc, x) for x in default.get("excludeLabels", []))
        ):
            return permit("F1", "default-opt-out", extra, place)
        return deny("F2", "default-not-covered", place)

    def holder(self, name):
        """Whose agreement it is."""
        if not self.line(name):
            return name
        return next((one for one in self.line(name) if self.org(one).get("agreement") is not None), "")

    def given(self, kind, member):
        """A grant that came with the request."""
        return [(kind, self.req[member].get("id", ""), "")] if self.req.get(member) else []

    def named(self, winners):
        """Consents and nodes that decided, each once: (consent, its id, the node's place)."""
        return sorted({("consent", self.called(consent), self.place(consent, path)) for consent, path in winners})

    def called(self, consent):
        index = next(n for n, one in enumerate(self.case["consents"]) if one is consent)
        identifier = consent.get("id") if isinstance(consent, dict) else None
        return identifier if isinstance(identifier, str) else f"consents[{index}]"

    def place(self, consent, path):
        if len(path) < 2:
            return "" if not path else "provision" if "type" in consent.get("provision", {}) else "policyRule"
        steps = itertools.pairwise(path)
        return ".".join(
            f"provision[{next(n for n, one in enumerate(above['provision']) if one is node)}]" for above, node in steps
        )

    def considered(self):
        """The ids of all consents in force."""
        return sorted(self.called(one) for one in self.case["consents"] if self.zone and self.in_force(one))

    def labels_of(self, node, system):
        return codes([coding(c) for c in node.get("securityLabel", [])], system)

    def covers(self, consent, path, needed):
        named = any(c in needed["coveredBy"] for n in path for c in self.labels_of(n, "v3-ActCode"))
        rule = consent.get("policyRule", {})
        by_rule = "coding" in rule and any(
            c in needed.get("policyCodes", []) for c in codes(concept(rule), "v3-ActCode")
        )
        return (named or by_rule) and any(self.lists(n) for n in path)

    def usable(self):
        """Whether the request says all that it must, in words that are known."""
        req, fx = self.req, self.fx
        return (
            all(req.get(k) for k in ("org", "user", "role", "purpose"))
            and req["purpose"] in fx["purposeParent"]
            and req["role"] in fx["roles"]
            and req.get("operation") in ("query", "retrieve", "notify", "bulk", "register", "update")
        )

    def gate(self):
        """The rule that refuses from what the caller is and claims alone, or None (6, "How a deny looks")."""
        req = self.req
        if not self.usable():
            return "G1"
        if not self.active(req["org"]):
            return "G2"
        if not self.listed(self.inherited(req["org"], "agreement")["purposes"]):
            return "G4"
        if not self.listed(self.fx["roles"][req["role"]]):
            return "G5"
        emergency = self.purpose == "BTG"
        if self.inherited(req["org"], "requiresRelationship") and "TREAT" in self.family() and not emergency:
            if not (req.get("relationship") or "").strip():
                return "G6"
        # Whose record the grant is for is not looked at.
        if emergency and req.get("breakGlass"):
            if not self.grant_valid({**req["breakGlass"], "patient": self.case["patient"]}):
                return "G7"
        return None

    def grant_valid(self, g):
        if not g or g.get("status") != "active" or not g.get("reason", "").strip() or not g.get("text", "").strip():
            return False
        if g["user"] != self.req["user"] or g["patient"] not in self.ids or not self.line(g["org"]):
            return False
        if self.root(g["org"]) != self.root(self.req["org"]):
            return False
        try:
            require("T" in g["start"] and "T" in g["end"])
            start, end = unit(g["start"], UTC)[0], unit(g["end"], UTC)[0]
        except Unintelligible:
            return False
        return start <= self.now < min(end, start + timedelta(hours=self.fx["hub"]["breakGlassMaxHours"]))

    def patient_rules(self, doc, kind, winners):
        user, pj = self.req["user"], self.pj
        place, grant = ("law", self.patient["jurisdiction"], ""), self.given("proxy", "proxyGrant")
        withheld = self.carries(doc, "NOPAT")
        if user in {f"Patient/{i}" for i in self.ids}:
            if withheld:
                return "deny", "P1", "withheld-from-patient", [], []
            if not self.age_reached(pj["confidentialAge"], True):
                return "deny", "P2", "minor-too-young", [], [place]
            return "permit", "P3", "self-access", [], []
        g = self.req.get("proxyGrant")
        good = g and g.get("status") == "active" and g["patient"] in self.ids and g["person"] == user
        good = good and g["kind"] in ("parent", "guardian-of-minor", "guardian", "attorney", "nominated")
        if good:
            try:
                start, end = span(g.get("period", {}), self.zone)
                good = start <= self.now < end
            except Unintelligible:
                good = False
        if not good:
            return "deny", "P4", "proxy-not-authorized", [], grant
        if g["kind"] in ("parent", "guardian-of-minor") and self.age_reached(pj["majorityAge"], False):
            return "deny", "P5", "proxy-ended-majority", [], [*grant, place]
        if withheld:
            return "deny", "P1", "withheld-from-patient", [], []
        if not self.age_reached(pj["majorityAge"], True) and self.age_reached(pj["confidentialAge"], False):
            named = kind == "permit" and any(self.names(path, user, True) for _, path in winners)
            if any(self.may_carry(doc, x) for x in pj["confidentialLabels"]) and not named:
                return "deny", "P6", "minor-confidential", [], [place]
        if kind == "deny":
            denying = [
                (consent, path)
                for consent, path in winners
                if self.names(path, user, False)
                or any(p in self.family() for n in path for p in self.lists(n, n["type"]))
            ]
            if denying:
                return "deny", "P7", "proxy-denied-by-patient", [], self.named(denying)
        letter = g.get("maxConfidentiality") or "N"
        if letter not in LETTERS or self.level(doc) > LETTERS.index(letter):
            return "deny", "P8", "proxy-scope", [], grant
        return "permit", "P9", "proxy-access", [], grant


def evaluate(fixture, case):
    """The answer to a case, in the form `./hub decide` prints it."""
    made = Case(fixture, case)

    def answer(doc):
        decision, rule, reason, obligations, _ = made.decide(doc)
        return {"decision": decision, "rule": rule, "reason": reason, "obligations": obligations}

    if "documents" not in case:
        return {"id": case["id"], **answer(case["document"])}
    answers = {doc["id"]: answer(doc) for doc in case["documents"]}
    outcomes = {a["decision"] for a in answers.values()}
    return {
        "id": case["id"],
        "decision": outcomes.pop() if len(outcomes) == 1 else "partial",
        "documents": answers,
    }
