"""A second evaluator, slow and plain, written from the text of the specification.

It imports nothing of the engine and works on the JSON of a case directly, so that
a slip in the engine's compiling, caching or ordering shows as a difference. It is
strict about well-formed input and does not try to survive wild shapes.

Source: spec/consent.md sections 2 to 6.
"""

# ruff: noqa: SIM102 - nested as the text of the rules is nested
from __future__ import annotations

import copy
import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

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
LAST = datetime(9999, 12, 31, tzinfo=UTC)
FIRST = datetime(1, 1, 2, tzinfo=UTC)


class Unintelligible(Exception):
    pass


def merge(base, over):
    out = copy.deepcopy(base)
    for k, v in over.items():
        out[k] = merge(out[k], v) if isinstance(v, dict) and isinstance(out.get(k), dict) else v
    return out


def codes(codings, system):
    return [c["code"] for c in codings if SAME_SYSTEM.get(c["system"], c["system"]) == HL7 + system]


def concept_codes(concepts, system):
    return [code for concept in concepts for code in codes(concept.get("coding", []), system)]


def unit(text, zone):
    """First instant, and first instant after, of a FHIR date."""
    if m := re.fullmatch(r"(\d{4})", text):
        y = int(m[1])
        a, b = datetime(y, 1, 1, tzinfo=zone), datetime(y + 1, 1, 1, tzinfo=zone)
    elif m := re.fullmatch(r"(\d{4})-(\d\d)", text):
        y, mo = int(m[1]), int(m[2])
        a = datetime(y, mo, 1, tzinfo=zone)
        b = datetime(y + mo // 12, mo % 12 + 1, 1, tzinfo=zone)
    elif m := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
        d = date(int(m[1]), int(m[2]), int(m[3]))
        n = d + timedelta(days=1)
        a, b = datetime(d.year, d.month, d.day, tzinfo=zone), datetime(n.year, n.month, n.day, tzinfo=zone)
    elif m := re.fullmatch(r"(.{10}T\d\d:\d\d)(:\d\d)?(\.\d{3})?(Z|[+-]\d\d:\d\d)", text):
        seconds = m[2] or ":00"
        offset = "+00:00" if m[4] == "Z" else m[4]
        a = datetime.fromisoformat(m[1] + seconds + (m[3] or "") + offset)
        step = timedelta(milliseconds=1) if m[3] else timedelta(seconds=1) if m[2] else timedelta(minutes=1)
        b = a.astimezone(UTC) + step
    else:
        raise Unintelligible(text)
    return a.astimezone(UTC), b.astimezone(UTC)


def span(period, zone):
    start = unit(period["start"], zone)[0] if "start" in period else FIRST
    end = unit(period["end"], zone)[1] if "end" in period else LAST
    return start, end


class Case:
    def __init__(self, fixture, case):
        self.fx = merge(fixture, case.get("fixtureOverride") or {})
        self.case = case
        self.req = case["request"]
        self.now = datetime.fromisoformat(case["now"])
        self.patient = self.fx["patients"][case["patient"]]
        self.ids = {case["patient"], *self.patient.get("linked", [])}
        self.pj = self.fx["jurisdictions"][self.patient["jurisdiction"]]
        self.zone = ZoneInfo(self.pj["timezone"])
        self.purpose = self.req.get("purpose")

    # organizations
    def org(self, name):
        return self.fx["organizations"].get(name)

    def line(self, name):
        found = []
        while name is not None:
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
        return self.fx["jurisdictions"][self.inherited(name, "jurisdiction")]

    def active(self, name):
        if self.org(name) is None:
            return False
        agreement = self.inherited(name, "agreement")
        if agreement is None or agreement["status"] != "active":
            return False
        start, end = span(agreement.get("period", {}), ZoneInfo(self.law(name)["timezone"]))
        return start <= self.now < end

    # codes
    def up(self, code, table):
        out = []
        while code is not None:
            out.append(code)
            code = self.fx[table][code]
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

    def level(self, doc):
        levels = [LETTERS.index(doc.get("confidentiality") or "R")]
        if not doc.get("labelled", True):
            levels.append(LETTERS.index("R"))
        levels += [LETTERS.index(letter) for la, letter in self.fx["labelFloor"].items() if self.carries(doc, la)]
        return max(levels)

    def own(self, doc):
        return self.root(self.req["org"]) == self.root(doc["custodian"])

    def age_reached(self, years):
        y, m, d = (int(x) for x in self.patient["birthDate"].split("-"))
        try:
            day = date(y + years, m, d)
        except ValueError:
            day = date(y + years, 3, 1)
        return self.now >= datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    # directives
    def in_force(self, consent):
        if consent["status"] != "active" or consent["patient"]["reference"] not in {f"Patient/{i}" for i in self.ids}:
            return False
        scopes = codes(consent["scope"]["coding"], "consentscope")
        if "patient-privacy" not in scopes and not ("research" in scopes and "HRESCH" in self.family()):
            return False
        try:
            if "dateTime" in consent and self.now < unit(consent["dateTime"], self.zone)[0]:
                return False
        except (Unintelligible, ValueError):
            pass
        provision = consent.get("provision")
        if isinstance(provision, dict) and "period" in provision:
            try:
                start, end = span(provision["period"], self.zone)
            except (Unintelligible, ValueError):
                return True
            return start <= self.now < end
        return True

    def check(self, consent):
        """Raise Unintelligible, else give the base decision."""
        rule = codes(consent.get("policyRule", {}).get("coding", []), "v3-ActCode")
        opted = {"permit" for c in rule if c in ("OPTIN", "OPTINR")} | {
            "deny" for c in rule if c in ("OPTOUT", "OPTOUTE")
        }
        if len(opted) > 1 or "modifierExtension" in consent:
            raise Unintelligible
        provision = consent.get("provision", {})
        if not isinstance(provision, dict):
            raise Unintelligible
        base = provision.get("type")
        if base is not None and opted and base not in opted:
            raise Unintelligible
        if base is None and not opted:
            raise Unintelligible
        try:
            if "dateTime" in consent:
                unit(consent["dateTime"], self.zone)
            self.check_node(provision)
        except ValueError as problem:
            raise Unintelligible from problem
        return base or opted.pop()

    def check_node(self, node):
        if (
            not isinstance(node, dict)
            or "modifierExtension" in node
            or node.get("type", "permit") not in ("permit", "deny")
        ):
            raise Unintelligible
        for member in ("period", "dataPeriod"):
            span(node.get(member, {}), self.zone)
        for child in node.get("provision", []):
            if "type" not in child:
                raise Unintelligible
            self.check_node(child)

    def applies(self, node, kind, doc, is_root):
        if not is_root and "period" in node:
            start, end = span(node["period"], self.zone)
            if not start <= self.now < end:
                return False
        if "purpose" in node and not any(p in self.family() for p in codes(node["purpose"], "v3-ActReason")):
            return False
        if "action" in node:
            acts = {"bulk": ["access", "use"], "register": ["collect"], "update": ["correct"]}.get(
                self.req["operation"], ["access"]
            )
            if "access" in acts and not self.own(doc):
                acts = [*acts, "disclose"]
            if not any(a in acts for a in concept_codes(node["action"], "consentaction")):
                return False
        kinds = {}
        for actor in node.get("actor", []):
            role = concept_codes([actor["role"]], "v3-ParticipationType")
            name = {"IRCP": "recipient", "PRCP": "recipient", "CST": "custodian", "AUT": "author"}.get(
                role[0] if role else "", "other"
            )
            kinds.setdefault(name, []).append(actor["reference"])
        for name, references in kinds.items():
            if name == "other":
                matched = kind == "deny"
            else:
                matched = any(getattr(self, name)(ref, doc) for ref in references)
            if not matched:
                return False
        return True

    def recipient(self, ref, doc):
        line = self.line(self.req["org"])
        if ref.get("reference") in [f"Organization/{o}" for o in line]:
            return True
        if ref.get("reference") == self.req["user"] or ref.get("reference") in self.req.get("careTeams", []):
            return True
        if "identifier" in ref:
            ident = (ref["identifier"]["system"], ref["identifier"]["value"])
            known = [(i["system"], i["value"]) for o in line for i in self.org(o).get("identifiers", [])]
            known.append(("urn:hie:role", self.req["role"]))
            known.append(("urn:hie:org-type", self.inherited(self.req["org"], "type")))
            return ident in known
        return False

    def custodian(self, ref, doc):
        line = self.line(doc["custodian"])
        if ref.get("reference") in [f"Organization/{o}" for o in line]:
            return True
        if "identifier" in ref:
            ident = (ref["identifier"]["system"], ref["identifier"]["value"])
            known = [(i["system"], i["value"]) for o in line for i in self.org(o).get("identifiers", [])]
            return ident in [*known, ("urn:hie:org-type", self.inherited(doc["custodian"], "type"))]
        return False

    def author(self, ref, doc):
        return ref.get("reference") in doc.get("authors", [])

    def content(self, node, kind, doc):
        if "class" in node and not any(f"{c['system']}|{c['code']}" in doc.get("class", []) for c in node["class"]):
            return False
        if "code" in node:
            wanted = [f"{c['system']}|{c['code']}" for cc in node["code"] for c in cc["coding"]]
            if not any(w in doc.get("codes", []) for w in wanted):
                return False
        if "securityLabel" in node:
            letters = [LETTERS.index(c) for c in codes(node["securityLabel"], "v3-Confidentiality") if c in LETTERS]
            sens = [c for c in codes(node["securityLabel"], "v3-ActCode") if c in self.fx["labelParent"]]
            by_letter = [self.level(doc) <= x if kind == "permit" else self.level(doc) >= x for x in letters]
            by_label = [self.carries(doc, s) for s in sens]
            if kind == "permit":
                if not letters and not sens:
                    return False
                if (letters and not any(by_letter)) or (sens and not any(by_label)):
                    return False
            elif not (any(by_letter) or any(by_label) or (sens and not doc.get("labelled", True))):
                return False
        if "data" in node and not any(self.is_data(d, doc) for d in node["data"]):
            return False
        if "dataPeriod" in node:
            start, end = span(node["dataPeriod"], self.zone)
            if "serviceStart" in doc:
                a, b = unit(doc["serviceStart"], self.zone)
                if "serviceStop" in doc:
                    b = unit(doc["serviceStop"], self.zone)[1]
            elif "created" in doc:
                a, b = unit(doc["created"], self.zone)
            else:
                return kind == "deny"
            return (start <= a and b <= end) if kind == "permit" else (a < end and start < b)
        return True

    def is_data(self, data, doc):
        ref, meaning = data["reference"]["reference"], data["meaning"]
        if meaning == "authoredby":
            return ref in doc.get("authors", [])
        things = [f"DocumentReference/{doc['id']}"]
        if meaning == "related":
            things += [doc.get("encounter"), *doc.get("related", [])]
        if meaning == "dependents":
            things += doc.get("dependsOn", [])
        return ref in things

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

    def names(self, path, person):
        return any(
            a["reference"].get("reference") == person
            for node in path
            for a in node.get("actor", [])
            if set(concept_codes([a["role"]], "v3-ParticipationType")) & {"IRCP", "PRCP"}
        )

    def lists(self, node):
        return codes(node.get("purpose", []), "v3-ActReason")

    def rule_matches(self, rule, doc):
        line = self.line(self.req["org"])
        tests = [
            "purposes" not in rule or any(p in rule["purposes"] for p in self.family()),
            "recipientTypes" not in rule or self.inherited(self.req["org"], "type") in rule["recipientTypes"],
            "recipients" not in rule or any(o in rule["recipients"] for o in line),
            "exceptRecipients" not in rule or not any(o in rule["exceptRecipients"] for o in line),
            "labels" not in rule or any(self.carries(doc, x) for x in rule["labels"]),
            "classes" not in rule or any(c in doc.get("class", []) for c in rule["classes"]),
            "codes" not in rule or any(c in doc.get("codes", []) for c in rule["codes"]),
            "minConfidentiality" not in rule or self.level(doc) >= LETTERS.index(rule["minConfidentiality"]),
        ]
        return all(tests)

    # the procedure
    def decide(self, doc):
        req, fx = self.req, self.fx
        deny = lambda rule, reason: ("deny", rule, reason, [])  # noqa: E731
        permit = lambda rule, reason, obligations=(): ("permit", rule, reason, sorted(obligations))  # noqa: E731
        if not all(req.get(k) for k in ("org", "user", "role", "purpose")):
            return deny("G1", "invalid-request")
        if req["purpose"] not in fx["purposeParent"] or req["role"] not in fx["roles"]:
            return deny("G1", "invalid-request")
        if req.get("operation") not in ("query", "retrieve", "notify", "bulk", "register", "update"):
            return deny("G1", "invalid-request")
        if doc["patient"] not in self.ids:
            return deny("G1", "invalid-request")
        if not self.active(req["org"]):
            return deny("G2", "participant-not-active")
        if not self.active(doc["custodian"]):
            return deny("G3", "custodian-not-active")
        if not self.listed(self.inherited(req["org"], "agreement")["purposes"]):
            return deny("G4", "purpose-not-permitted")
        if not self.listed(fx["roles"][req["role"]]):
            return deny("G5", "role-not-permitted")
        family = self.family()
        emergency = self.purpose == "BTG"
        if (
            self.inherited(req["org"], "requiresRelationship")
            and "TREAT" in family
            and not emergency
            and not req.get("relationship")
        ):
            return deny("G6", "relationship-required")
        if emergency and not self.grant_valid():
            return deny("G7", "break-glass-invalid")
        if any(self.decide(source)[0] == "deny" for source in doc.get("derivedFrom", [])):
            return deny("X1", "derived-from-denied")
        kind, winners = self.verdict(doc)
        if "PATRQT" in family:
            return self.patient_rules(doc, kind, winners)
        law = self.law(doc["custodian"])
        level = self.level(doc)
        own_purpose = any(p in family for p in ("TREAT", "HPAYMT", "HOPERAT"))
        if self.own(doc) and own_purpose:
            if not (kind == "deny" and any(self.names(path, req["user"]) for _, path in winners)):
                return permit("C1", "own-organization")
        for p in law.get("prohibitions", []):
            if self.rule_matches(p, doc) and not (emergency and p.get("emergencyOverride")):
                return deny("L1", "legal-prohibition")
        needed = [c for c in law.get("consentRequired", []) if self.carries(doc, c["label"])]
        if not needed and any(self.rule_matches(m, doc) for m in law.get("mandates", [])):
            return permit("L2", "legal-mandate", ["ACCOUNT"])
        for owner in self.line(doc["custodian"]):
            for r in self.org(owner).get("releasePolicy", []):
                if self.rule_matches(r, doc) and not (emergency and not r.get("absolute")):
                    return deny("O1", "release-policy")
        part2 = self.carries(doc, "42CFRPart2")
        if emergency and kind == "deny" and law.get("breakGlassRefusal"):
            if any("BTG" in self.lists(n) and n["type"] == "deny" for _, path in winners for n in path):
                return deny("D1", "patient-refused-emergency")
        opened = ["NOTIFY-PATIENT", "REVIEW", "NOREUSE"]
        if emergency and level <= LETTERS.index("R"):
            return permit("D2", "break-glass", opened + (["PART2-NOTICE", "NORDSCLCD"] if part2 else []))
        if kind == "deny":
            return deny("D3", "patient-deny")
        paths = winners if kind == "permit" else []
        for c in needed:
            if not any(self.covers(consent, path, c) for consent, path in paths):
                return deny("D4", "explicit-consent-required")
        if level == LETTERS.index("V"):
            if not any("V" in codes(n.get("securityLabel", []), "v3-Confidentiality") for _, p in paths for n in p):
                return deny("D5", "very-restricted")
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
            return permit("D6", "patient-permit", extra)
        if kind == "weak":
            return deny("D7", "outside-consent-scope")
        default = law["default"]
        if default["model"] == "opt-in":
            return deny("F3", "no-consent")
        if (
            any(p in default["purposes"] for p in family)
            and level <= LETTERS.index(default["ceiling"])
            and doc.get("labelled", True)
            and not any(self.carries(doc, x) for x in default["excludeLabels"])
        ):
            return permit("F1", "default-opt-out", extra)
        return deny("F2", "default-not-covered")

    def covers(self, consent, path, needed):
        named = any(c in needed["coveredBy"] for n in path for c in codes(n.get("securityLabel", []), "v3-ActCode"))
        rule = codes(consent.get("policyRule", {}).get("coding", []), "v3-ActCode")
        by_rule = any(c in needed.get("policyCodes", []) for c in rule)
        return (named or by_rule) and any(self.lists(n) for n in path)

    def grant_valid(self):
        g = self.req.get("breakGlass")
        if not g or g.get("status") != "active" or not g.get("reason", "").strip() or not g.get("text", "").strip():
            return False
        if g["user"] != self.req["user"] or g["patient"] not in self.ids or self.org(g["org"]) is None:
            return False
        if self.root(g["org"]) != self.root(self.req["org"]):
            return False
        start, end = datetime.fromisoformat(g["start"]), datetime.fromisoformat(g["end"])
        return start <= self.now < min(end, start + timedelta(hours=self.fx["hub"]["breakGlassMaxHours"]))

    def patient_rules(self, doc, kind, winners):
        user, pj = self.req["user"], self.pj
        withheld = self.carries(doc, "NOPAT")
        if user in {f"Patient/{i}" for i in self.ids}:
            if withheld:
                return "deny", "P1", "withheld-from-patient", []
            if not self.age_reached(pj["confidentialAge"]):
                return "deny", "P2", "minor-too-young", []
            return "permit", "P3", "self-access", []
        g = self.req.get("proxyGrant")
        good = g and g.get("status") == "active" and g["patient"] in self.ids and g["person"] == user
        if good:
            start, end = span(g.get("period", {}), self.zone)
            good = start <= self.now < end
        if not good:
            return "deny", "P4", "proxy-not-authorized", []
        major = self.age_reached(pj["majorityAge"])
        if g["kind"] in ("parent", "guardian-of-minor") and major:
            return "deny", "P5", "proxy-ended-majority", []
        if withheld:
            return "deny", "P1", "withheld-from-patient", []
        named = any(self.names(path, user) for _, path in winners)
        if not major and self.age_reached(pj["confidentialAge"]):
            if any(self.carries(doc, x) for x in pj["confidentialLabels"]) and not (kind == "permit" and named):
                return "deny", "P6", "minor-confidential", []
        if kind == "deny":
            if named or any(p in self.family() for _, path in winners for n in path for p in self.lists(n)):
                return "deny", "P7", "proxy-denied-by-patient", []
        if self.level(doc) > LETTERS.index(g.get("maxConfidentiality", "N")):
            return "deny", "P8", "proxy-scope", []
        return "permit", "P9", "proxy-access", []


def evaluate(fixture, case):
    """The answer to a case, in the form `./hub decide` prints it."""
    made = Case(fixture, case)

    def answer(doc):
        decision, rule, reason, obligations = made.decide(doc)
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
