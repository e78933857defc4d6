"""The NIST XDS tests: their plans read as the tool reads them, their messages sent to a hub, their expectations checked.

What sends is given: handlers called directly, or a live hub over HTTP. Nothing here knows the hub's insides.

Source: the plans in data/xds/nist-testkit, and the tool's conventions (short association types are expanded, ids and
uniqueIds are given by the sender, ``$symbol$`` stands for what an earlier step gave).
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from hie.faces.soap.ebxml import names
from tests.soap import rim

KIT = rim.SAMPLES / "nist-testkit"
_UNIQUE_IDS = {names.ENTRY_UNIQUE_ID, names.SUBMISSION_SET_UNIQUE_ID, names.FOLDER_UNIQUE_ID}
_PATIENT_IDS = {names.ENTRY_PATIENT_ID, names.SUBMISSION_SET_PATIENT_ID, names.FOLDER_PATIENT_ID}
_UPDATES = {"Approved": "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"}
_SUCCESS = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
_numbers = itertools.count(1)

Send = Callable[[str, etree._Element, Mapping[str, bytes]], tuple[etree._Element, Mapping[str, bytes]]]
"""Action, body and documents by id of their entry; the answer's body and its documents by uniqueId."""

ACTIONS = {
    "RegisterTransaction": "urn:ihe:iti:2007:RegisterDocumentSet-b",
    "ProvideAndRegisterTransaction": "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    "XDRProvideAndRegisterTransaction": "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
    "StoredQueryTransaction": "urn:ihe:iti:2007:RegistryStoredQuery",
    "MPQTransaction": "urn:ihe:iti:2009:MultiPatientStoredQuery",
    "RetrieveTransaction": "urn:ihe:iti:2007:RetrieveDocumentSet",
}


class Faulted(Exception):
    """The answer is a fault."""


class Failed(AssertionError):
    """A step did not give what its plan expects."""


@dataclass(slots=True)
class Tool:
    """The tool while it works through tests: what earlier steps gave stays known.

    `new_patient` feeds somebody to the hub and gives the identifier; `repository_unique_id` is the hub's own.
    """

    send: Send
    new_patient: Callable[[], str]
    repository_unique_id: str
    patient: str = ""
    patients: dict[str, str] = field(default_factory=dict)  # by the number of the test that fed them
    reports: dict[tuple[str, str, str], dict[str, str]] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)  # documents by uniqueId
    given: dict[tuple[str, str, str], dict[str, tuple[str, str]]] = field(default_factory=dict)  # uuid, uniqueId
    by_hand: dict[str, str] = field(default_factory=dict)  # what a readme tells to write into the messages

    def run(self, test: str) -> None:
        """Every section of a test in its order.

        Raises:
            Failed: naming section and step.
        """
        for section in sections(test):
            plan = etree.parse(str(KIT / test / section / "testplan.xml")).getroot()
            log = etree.Element("TestResults")
            for step in plan.iter("TestStep"):
                try:
                    self._step(test, section, step, log)
                except AssertionError as error:
                    raise Failed(f"{test}/{section}/{step.get('id')}: {error}") from error

    # -- one step ---------------------------------------------------------------------------------------------------

    def _step(self, test: str, section: str, step: etree._Element, log: etree._Element) -> None:
        key = (test, section, step.get("id", ""))
        if step.find("NewPatientId") is not None:
            self.patient = self.new_patient()
            return
        transaction = next((child for child in step if str(child.tag).endswith("Transaction")), None)
        if transaction is None:
            return
        if transaction.find("WaitBefore") is not None:
            time.sleep(1.1)  # lastUpdateTime counts seconds
        if transaction.tag == "PatientIdentityFeedTransaction":
            self.patient = self.new_patient()
            return
        symbols = self._symbols(key, transaction)
        node = etree.SubElement(log, "TestStep", {"id": key[2]})
        if transaction.tag != "NullTransaction":
            alternative = "A9^^^&1.2.3.4.999&ISO" if step.find("AltPatientId") is not None else None
            try:
                answer, documents = self._send(key, transaction, symbols, alternative)
            except Faulted as fault:
                if (step.findtext("ExpectedStatus") or "").strip() != "Fault":
                    raise AssertionError("a fault was not expected") from fault
                return
            result = etree.SubElement(etree.SubElement(node, transaction.tag), "Result")
            result.append(answer)
            self._check(step, transaction, answer, documents, symbols)
            self._report(key, transaction, "Result", result)
        self._assert(transaction, node if len(node) else log, symbols, log)

    def _send(
        self, key: tuple[str, str, str], transaction: etree._Element, symbols: dict[str, str], alternative: str | None
    ) -> tuple[etree._Element, Mapping[str, bytes]]:
        folder = KIT / key[0] / key[1]
        name = transaction.findtext("MetadataFile", "").strip()
        text = (folder / name).read_text(encoding="utf-8")
        for word, value in self.by_hand.items():
            text = text.replace(word, value)
        for symbol, value in symbols.items():
            text = text.replace(symbol, value.replace("&", "&amp;"))
        root = etree.fromstring(text.encode())
        action = ACTIONS[transaction.tag]
        if "Register" not in transaction.tag:
            self._hold_patient(root)
            return self.send(action, root, {})
        listed = rim.modern(root)
        self._prepare(key, transaction, listed, alternative or self.patient)
        documents = {
            one.get("id", ""): (folder / (one.text or "").strip()).read_bytes() for one in transaction.iter("Document")
        }
        request = etree.Element(names.tag(names.LCM, "SubmitObjectsRequest"), nsmap={"lcm": names.LCM})
        request.append(listed)
        self._report(key, transaction, "InputMetadata", listed)
        if "Provide" not in transaction.tag:
            return self.send(action, request, {})
        # One plan names another file to compare with than the one that it sends: what was sent is what must come back.
        self.sent |= {self.given[key][one][1]: data for one, data in documents.items() if one in self.given[key]}
        provide = etree.Element(names.tag(names.XDS, "ProvideAndRegisterDocumentSetRequest"), nsmap={"xds": names.XDS})
        provide.append(request)
        return self.send(action, provide, documents)

    def _hold_patient(self, root: etree._Element) -> None:
        """A query's ``$patientid$`` that no step gave is the patient under test."""
        for value in root.iter(names.tag(names.RIM, "Value")):
            value.text = (value.text or "").replace("$patientid$", self.patient)

    def _prepare(
        self, key: tuple[str, str, str], transaction: etree._Element, listed: etree._Element, patient: str
    ) -> None:
        """Give what the sender gives: uniqueIds, the patient, UUIDs."""
        keep = {one.get("id") for one in transaction.iter("NoAssignUids")}
        keep_all = any(one.get("id") is None for one in transaction.iter("NoAssignUids"))
        given: dict[str, tuple[str, str]] = {}
        uuids: dict[str, str] = {}
        for element in listed:
            object_id = element.get("id", "")
            unique_id = ""
            for identifier in element.iter(names.tag(names.RIM, "ExternalIdentifier")):
                scheme = identifier.get("identificationScheme")
                if scheme in _UNIQUE_IDS:
                    if not keep_all and object_id not in keep:
                        identifier.set("value", f"2.999.77.{int(time.time() * 1000)}.{next(_numbers)}")
                    unique_id = identifier.get("value", "")
                elif scheme in _PATIENT_IDS and (
                    transaction.find("NoPatientId") is None or identifier.get("value", "").startswith("$")
                ):
                    number = {"$patient_id1$": "15819", "$patient_id2$": "15820"}.get(identifier.get("value", ""))
                    identifier.set("value", self.patients[number] if number else patient)
            if transaction.find("AssignUuids") is not None and object_id and not object_id.startswith("urn:uuid:"):
                uuids[object_id] = f"urn:uuid:{uuid.uuid4()}"
            if unique_id:
                given[object_id] = (uuids.get(object_id, object_id), unique_id)
        for element in listed.iter():
            for attribute in ("id", "sourceObject", "targetObject", "classifiedObject", "registryObject"):
                if element.get(attribute) in uuids:
                    element.set(attribute, uuids[element.get(attribute, "")])
        self.given[key] = given
        values = self.reports.setdefault(key, {})
        for object_id, (own, unique_id) in given.items():
            values |= {f"{object_id}_uid": unique_id, f"{object_id}_uuid": own}

    def _symbols(self, key: tuple[str, str, str], transaction: etree._Element) -> dict[str, str]:
        found = {"$repuid$": self.repository_unique_id}
        for use in transaction.iter("UseId"):
            where = (KIT / key[0] / key[1] / (use.get("testdir") or ".")).resolve()
            source = where.relative_to(KIT.resolve())
            if len(source.parts) == 1:  # named from the test's own folder
                source = Path(key[0]) / (use.get("testdir") or key[1])
            own = self.given.get((source.parts[0], source.parts[-1], use.get("step", "")), {})
            if source == Path(key[0]) / key[1] and not own:
                own = self.given.get((key[0], key[1], use.get("step", "")), {})
            pair = own.get(use.get("id", ""))
            assert pair is not None, f"no {use.get('id')} of {source}/{use.get('step')}"
            found[use.get("symbol", "")] = pair[0 if use.get("section") == "AssignedUuids" else 1]
        for use in transaction.iter("UseReport"):
            number = use.get("test")
            if number is not None:
                found[use.get("useAs", "")] = self.patients.get(number, self.patient)
                continue
            section = key[1] if use.get("section") == "THIS" else use.get("section", "")
            held = self.reports.get((key[0], section, use.get("step", "")), {})
            value = held.get(use.get("reportName", ""))
            assert value is not None, f"no report {use.get('reportName')} of {section}/{use.get('step')}"
            found[use.get("useAs", "")] = value
        return found

    def _report(
        self, key: tuple[str, str, str], transaction: etree._Element, section: str, node: etree._Element
    ) -> None:
        for report in transaction.iter("Report"):
            if report.get("section") == section:
                found = node.xpath((report.text or "").strip())
                assert found, f"nothing to report as {report.get('name')}"
                value = found[0] if isinstance(found[0], str) else found[0].text
                self.reports.setdefault(key, {})[report.get("name", "")] = str(value)

    # -- what is expected -------------------------------------------------------------------------------------------

    def _check(
        self,
        step: etree._Element,
        transaction: etree._Element,
        answer: etree._Element,
        documents: Mapping[str, bytes],
        symbols: Mapping[str, str],
    ) -> None:
        rim.check_schema(_without_bytes(answer))
        status = next(
            one.get("status", "") for one in answer.iter() if one.get("status", "").find("ResponseStatusType") > 0
        )
        told = "; ".join(f"{e.get('errorCode')}: {e.get('codeContext')}" for e in answer.iter("{*}RegistryError"))
        wanted = (step.findtext("ExpectedStatus") or "Success").strip()
        assert status.rpartition(":")[2] == wanted, f"{status.rpartition(':')[2]} {told}"
        for name in ("ExpectedErrorMessage", "ExpectedErrorCode"):
            code = step.findtext(name)
            if code:
                assert code.strip() in {e.get("errorCode") for e in answer.iter("{*}RegistryError")}, told
        for error in answer.iter("{*}RegistryError"):
            assert error.get("location") is not None
            assert error.get("codeContext")
        for expected in transaction.iterfind("ExpectedContents/*"):
            if not isinstance(expected.tag, str):
                continue
            _contents(expected, answer)
        kind = transaction.findtext("ExpectedMimeType")
        if kind:
            assert [one.text for one in answer.iter("{*}mimeType")] == [kind.strip()]
        for reference in transaction.iter("ReferenceDocument"):
            unique_id = symbols[reference.get("uid", "")]
            assert documents[unique_id] == self.sent[unique_id], f"other bytes of {unique_id}"

    def _assert(
        self, transaction: etree._Element, node: etree._Element, symbols: Mapping[str, str], log: etree._Element
    ) -> None:
        for one in transaction.iter("Assert"):
            expression = (one.text or "").strip().replace("$DATE$", f"{datetime.now(UTC):%Y%m%d}")
            for symbol, value in symbols.items():
                expression = expression.replace(symbol, value)
            # A plan names the results of its own section; in a step without a transaction those of the step before.
            assert etree.ElementTree(log).xpath(expression), f"{one.get('id')}: {expression}"


def sections(test: str) -> list[str]:
    """The sections of a test in the tool's order; one without an order has its folders by name."""
    index = KIT / test / "index.idx"
    if index.exists():
        return [name for name in index.read_text().split() if (KIT / test / name / "testplan.xml").exists()]
    return sorted(path.name for path in (KIT / test).iterdir() if (path / "testplan.xml").exists())


def _without_bytes(answer: etree._Element) -> etree._Element:
    """The answer as it stands after its parts were put in place."""
    copy = etree.fromstring(etree.tostring(answer))
    for include in list(copy.iter(names.tag(names.XOP, "Include"))):
        parent = include.getparent()
        assert parent is not None
        parent.remove(include)
        parent.text = "AA=="
    return copy


def _contents(expected: etree._Element, answer: etree._Element) -> None:
    packages = list(answer.iter("{*}RegistryPackage"))
    nodes = [{c.get("classificationNode") for c in package.iter("{*}Classification")} for package in packages]
    documents = list(answer.iter("{*}ExtrinsicObject"))
    associations = list(answer.iter("{*}Association"))
    sets = sum(names.SUBMISSION_SET_NODE in found for found in nodes)
    folders = sum(names.FOLDER_NODE in found for found in nodes)
    counts = {
        "Documents": len(documents),
        "Associations": len(associations),
        "SubmissionSets": sets,
        "Folders": folders,
        "ObjectRefs": len(list(answer.iter("{*}ObjectRef"))),
    }
    if expected.tag in counts:
        assert counts[expected.tag] == int(expected.get("count", "")), (expected.tag, counts)
        return
    statuses = [one.get("status", "").rpartition(":")[2] for one in documents]
    types = {one.get("associationType", "").rpartition(":")[2] for one in associations}
    shape = (sets, len(documents), folders, len(associations))
    checks: dict[str, bool] = {
        "SSwithOneDoc": shape == (1, 1, 0, 1),
        "SSwithTwoDoc": shape == (1, 2, 0, 2),
        "SSwithOneFol": shape == (1, 0, 1, 1),
        "SSwithOneDocOneFol": shape[:3] == (1, 1, 1),
        "SSwithTwoDocOneFol": shape[:3] == (1, 2, 1),
        "SSwithTwoDocOneFolOneDocInFol": shape[:3] == (1, 2, 1),
        "SSApproved": all(one.get("status") == _UPDATES["Approved"] for one in packages),
        "DocApp": bool(statuses) and set(statuses) == {"Approved"},
        "DocDep": bool(statuses) and set(statuses) == {"Deprecated"},
        "OneDocApp": statuses.count("Approved") == 1,
        "OneDocDep": statuses.count("Deprecated") == 1,
        "HasXFRM": "XFRM" in types,
        "HasXFRM_RPLC": "XFRM_RPLC" in types,
        "HasAPND": "APND" in types,
        "HasRPLC": "RPLC" in types,
        "NoSubmissionSet": sets == 0,
        "NoDocument": not documents,
        "None": shape == (0, 0, 0, 0),
    }
    assert checks[expected.tag], (expected.tag, shape, statuses, types)
