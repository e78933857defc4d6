"""QBP to RSP: who is found, what is told, how a long answer goes on, and who learns nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from hie.audit.recorder import Outdated
from hie.directory import registration
from hie.exchange import inbox
from hie.exchange.errors import BadRequest
from hie.exchange.models import InboundMessage
from hie.exchange.release import Basis
from hie.faces.hl7v2.mllp import answer
from hie.standards.facts import Caller
from patients import identifiers
from patients.models import SourceRecord
from tests.hl7v2.messages import (
    CLINIC_OID,
    HOSPITAL_OID,
    adt,
    err,
    msa,
    msh,
    participant,
    pid,
)

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = Caller(participant_id="hub", organization_id="hub", client_id="backoffice", user_id="Staff/op")


@pytest.fixture(autouse=True)
def _participants(db: None, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 100_000
    registration.apply(
        {
            "participants": [
                participant("org-north", HOSPITAL_OID, "EPIC", "NORTH"),
                participant("org-clinic", CLINIC_OID, "CLIN", "SOUTH", type="primary-care"),
                participant("org-silent", "2.999.34.1", "SILENT", "EAST", default_role=None, default_purpose=None),
                participant("org-mute", "2.999.33.1", "MUTE", "WEST", type="payer", purposes=["HPAYMT"]),
            ]
        }
    )
    people = (
        ("1", "Quimby^Nora^L", "19710203"),
        ("2", "Quimbley^Nora^M", "19840617"),
        ("3", "Quimby^Élodie^R", "19591122"),
    )
    for value, name, birth in people:
        assert msa(answer(adt("A28", f"f{value}", pid(f"{value}^^^&{HOSPITAL_OID}&ISO", name, birth=birth))))[1] == "AA"
    clinic = pid(f"C1^^^&{CLINIC_OID}&ISO", "Quimby^Nora^L", birth="19710203")
    assert msa(answer(adt("A28", "c1", clinic, application="CLIN", facility="SOUTH")))[1] == "AA"


def ask(event: str, qpd: str, *more: str, control_id: str = "q1", **fields: str) -> bytes:
    """The answer to a query of the hospital, or of who is named."""
    kind = f"QBP^{event}^QBP_Q21"
    lines = [msh(event, control_id, **({"kind": kind} | fields)), qpd, *more]
    return answer(("\r".join(lines) + "\r").encode())


def segments(reply: bytes, name: str) -> list[list[str]]:
    return [line.split("|") for line in reply.decode().split("\r") if line.startswith(name)]


def pdq(*parameters: str, domains: str = "") -> str:
    return f"QPD|IHE PDQ Query|T1|{'~'.join(parameters)}|||||{domains}"


@pytest.mark.parametrize(
    ("event", "qpd"),
    [
        pytest.param("Q22", "QPD|IHE PDQ Query|T1|@PID.5.1^QUIMBY", id="demographics"),
        pytest.param("Q23", f"QPD|IHE PIX Query|T1|1^^^&{HOSPITAL_OID}&ISO", id="cross-reference"),
    ],
)
def test_a_question_whose_ground_keeps_moving_is_to_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, event: str, qpd: str
) -> None:
    def moved(self: Basis, ask: Any, *, alone: bool) -> None:
        raise Outdated("each time")

    assert msa(ask(event, qpd))[1] == "AA"
    monkeypatch.setattr(Basis, "_hold", moved)
    reply = ask(event, qpd, control_id="q2")
    assert msa(reply)[1:3] == ["AE", "q2"]
    assert segments(reply, "ERR")[0][3].startswith("207^")
    assert segments(reply, "PID") == []


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        pytest.param(["@PID.5.1^QUIMBY"], 2, id="whole-word"),
        pytest.param(["@PID.5.1.1^quimby"], 2, id="subcomponent-and-case"),
        pytest.param(["@PID.5.1^Quim*"], 3, id="wildcard"),
        pytest.param(["@PID.5.1^*uimbl*"], 1, id="around"),
        pytest.param(["@PID.5.1^Quim"], 0, id="part-of-a-word"),
        pytest.param(["@PID.5.2^Elodie"], 1, id="accent"),
        pytest.param(["@PID.7^19710203", "@PID.8^F"], 1, id="birth-and-sex"),
        pytest.param(["@PID.7^1984", "@PID.5.2^Nora"], 1, id="year"),
        pytest.param(["@PID.8^M", "@PID.5.1^Quim*"], 0, id="other-sex"),
        pytest.param(["@PID.3.1^2", f"@PID.3.4.2^{HOSPITAL_OID}"], 1, id="identifier"),
        pytest.param(["@PID.3.1^2", "@PID.3.4.1^ANY"], 1, id="own-by-local-name"),
        pytest.param(["@PID.3.1^C1", f"@PID.3.4^&{CLINIC_OID}&ISO"], 1, id="anothers-identifier"),
        pytest.param(["@PID.3.1^2", "@PID.3.4.2^2.999.404"], 0, id="nobodys-domain"),
        pytest.param(["@PID.11.3^ames", "@PID.11.5^50010"], 3, id="address"),
        pytest.param(["@PID.13.1^5155550101"], 3, id="phone"),
    ],
)
def test_each_parameter_finds_what_it_says(parameters: list[str], found: int) -> None:
    reply = ask("Q22", pdq(*parameters))
    assert msa(reply)[1:] == ["AA", "q1"]
    assert segments(reply, "MSH")[0][8] == "RSP^K22^RSP_K21"
    assert segments(reply, "QAK")[0] == [
        "QAK",
        "T1",
        "OK" if found else "NF",
        "IHE PDQ Query",
        str(found),
        str(found),
        "0",
    ]
    assert len(segments(reply, "PID")) == found
    assert segments(reply, "QPD")[0][2] == "T1"


def test_a_patient_is_told_with_all_that_pid_holds() -> None:
    (found,) = segments(ask("Q22", pdq("@PID.5.2^Élodie")), "PID")
    assert f"3^^^&{HOSPITAL_OID}&ISO" in found[3].split("~")
    assert found[5] == "Quimby^Élodie^R^^^^L"
    assert found[7:9] == ["19591122", "F"]
    assert found[11] == "5 Elm St^^Ames^IA^50010^US^H"


def test_domains_asked_for_are_the_only_ones_told() -> None:
    (found,) = segments(ask("Q22", pdq("@PID.5.1^Quimby", domains=f"^^^&{CLINIC_OID}&ISO")), "PID")
    assert found[3] == f"C1^^^&{CLINIC_OID}&ISO"


def test_a_long_answer_goes_on_where_it_broke_off_and_knows_its_asker() -> None:
    question = pdq("@PID.5.1^Quim*")
    first = ask("Q22", question, "RCP|I|2^RD")
    assert segments(first, "QAK")[0][4:] == ["3", "2", "1"]
    (dsc,) = segments(first, "DSC")
    assert len(dsc[1]) <= 180
    second = ask("Q22", question, "RCP|I|2^RD", f"DSC|{dsc[1]}|I", control_id="q2")
    assert segments(second, "QAK")[0][4:] == ["3", "1", "0"]
    assert segments(second, "DSC") == []
    names = [found[3] for found in segments(first, "PID") + segments(second, "PID")]
    assert len(set(names)) == 3
    for reply in (
        ask("Q22", question, "RCP|I|2^RD", f"DSC|{dsc[1]}x|I"),
        ask("Q22", pdq("@PID.5.1^Quimby"), "RCP|I|2^RD", f"DSC|{dsc[1]}|I"),
        ask("Q22", question, "RCP|I|2^RD", f"DSC|{dsc[1]}|I", application="CLIN", facility="SOUTH"),
    ):
        assert (msa(reply)[1], segments(reply, "QAK")[0][2], err(reply)[0][2]) == ("AE", "AE", "DSC^1^1")
        assert segments(reply, "PID") == []


def test_a_continuation_is_given_up_with_an_acknowledgement() -> None:
    raw = ("\r".join([msh("J01", "z1", kind="QCN^J01^QCN_J01"), "QID|T1|IHE PDQ Query"]) + "\r").encode()
    assert msa(answer(raw))[1:] == ["AA", "z1"]


def test_a_pix_query_tells_the_other_identifiers_and_no_name() -> None:
    reply = ask("Q23", f"QPD|IHE PIX Query|T2|1^^^&{HOSPITAL_OID}&ISO|^^^&{CLINIC_OID}&ISO", "RCP|I")
    assert segments(reply, "MSH")[0][8] == "RSP^K23^RSP_K23"
    assert segments(reply, "QAK")[0] == ["QAK", "T2", "OK"]
    assert segments(reply, "PID") == [["PID", "1", "", f"C1^^^&{CLINIC_OID}&ISO", "", "~^^^^^^S"]]


@pytest.mark.parametrize(
    ("qpd", "code", "status", "error", "place"),
    [
        pytest.param(f"2^^^&{HOSPITAL_OID}&ISO|^^^&{CLINIC_OID}&ISO", "AA", "NF", "", "", id="nothing-there"),
        pytest.param(f"404^^^&{HOSPITAL_OID}&ISO", "AE", "AE", "204", "QPD^1^3^1^1", id="unknown-identifier"),
        pytest.param("1^^^&2.999.404&ISO", "AE", "AE", "204", "QPD^1^3^1^4", id="unknown-domain"),
        pytest.param(
            f"1^^^&{HOSPITAL_OID}&ISO|^^^&{CLINIC_OID}&ISO~^^^&2.999.404&ISO",
            "AE",
            "AE",
            "204",
            "QPD^1^4^2",
            id="unknown-target",
        ),
        pytest.param("", "AE", "AE", "101", "QPD^1^3", id="no-identifier"),
    ],
)
def test_each_case_of_a_pix_query_has_its_own_answer(qpd: str, code: str, status: str, error: str, place: str) -> None:
    reply = ask("Q23", f"QPD|IHE PIX Query|T3|{qpd}")
    assert (msa(reply)[1], segments(reply, "QAK")[0][1:3]) == (code, ["T3", status])
    assert [(one[2], one[3].split("^")[0]) for one in err(reply)] == ([(place, error)] if error else [])
    assert segments(reply, "PID") == []


@pytest.mark.parametrize(
    ("qpd", "rcp", "place"),
    [
        pytest.param(pdq("@PID.5.1^X", domains="^^^&2.999.404&ISO"), "RCP|I", "QPD^1^8^1", id="unknown-domain"),
        pytest.param(pdq("@PID.77^X"), "RCP|I", "QPD^1^3^1^1", id="unknown-field"),
        pytest.param(pdq("@ZZZ.1^X"), "RCP|I", "QPD^1^3^1^1", id="no-field-of-pid"),
        pytest.param(pdq("@PID.7^soon"), "RCP|I", "QPD^1^3^1^2", id="no-date"),
        pytest.param(pdq(""), "RCP|I", "QPD^1^3", id="nothing"),
        pytest.param("QPD|IHE PDQ Query||@PID.5.1^X", "RCP|I", "QPD^1^2", id="no-tag"),
        pytest.param(pdq("@PID.5.1^X"), "RCP|D", "RCP^1^1", id="deferred"),
        pytest.param(pdq("@PID.5.1^X"), "RCP|I|0^RD", "RCP^1^2", id="quantity"),
    ],
)
def test_a_question_that_cannot_be_asked_names_its_field(qpd: str, rcp: str, place: str) -> None:
    reply = ask("Q22", qpd, rcp)
    assert (msa(reply)[1], segments(reply, "QAK")[0][2], err(reply)[0][2]) == ("AE", "AE", place)


@pytest.mark.parametrize(("application", "facility"), [("MUTE", "WEST"), ("SILENT", "EAST")])
def test_who_has_no_agreement_for_treatment_or_states_no_purpose_is_answered_nothing_of_anybody(
    application: str, facility: str
) -> None:
    sender = {"application": application, "facility": facility}
    known = ask("Q23", f"QPD|IHE PIX Query|T|1^^^&{HOSPITAL_OID}&ISO", **sender)
    unknown = ask("Q23", f"QPD|IHE PIX Query|T|404^^^&{HOSPITAL_OID}&ISO", **sender)
    assert (msa(known)[1], segments(known, "QAK")[0][2]) == ("AR", "AR")
    assert [line.split("|")[1:] for line in known.decode().split("\r")[1:3]] == [
        line.split("|")[1:] for line in unknown.decode().split("\r")[1:3]
    ]


def test_an_answer_is_not_kept_and_a_question_not_replayed() -> None:
    reply = ask("Q22", pdq("@PID.5.1^Quimby"))
    row = InboundMessage.objects.get(kind="QBP^Q22")
    assert (row.status, row.reply) == ("accepted", None)
    assert b"Nora" in reply
    with pytest.raises(BadRequest):
        inbox.replay(row.pk, ADMIN, "see what was told")


def test_the_same_question_again_is_decided_anew() -> None:
    question = f"QPD|IHE PIX Query|T2|1^^^&{HOSPITAL_OID}&ISO|^^^&{CLINIC_OID}&ISO"
    assert segments(ask("Q23", question), "PID")
    link = identifiers.resolve(CLINIC_OID, "C1")
    assert link is not None
    from patients import linking

    linking.unlink(link.source_record_id, actor="Staff/steward")
    assert segments(ask("Q23", question), "QAK")[0][2] == "NF"


def person(value: str, oid: str = HOSPITAL_OID) -> UUID:
    found = identifiers.resolve(oid, value)
    assert found is not None
    return found.person_id


def test_link_joins_two_records_and_unlink_parts_them() -> None:
    two = (pid(f"1^^^&{HOSPITAL_OID}&ISO"), pid(f"2^^^&{HOSPITAL_OID}&ISO"))
    assert person("1") != person("2")
    for _ in range(2):
        assert msa(answer(adt("A24", "l1", *two)))[1] == "AA"
        assert person("1") == person("2")
    assert msa(answer(adt("A37", "l2", *two)))[1] == "AA"
    assert person("1") != person("2")
    assert person("1") == person("C1", CLINIC_OID)


def test_a_link_of_anothers_record_is_rejected() -> None:
    reply = answer(adt("A24", "l1", pid(f"1^^^&{HOSPITAL_OID}&ISO"), pid(f"C1^^^&{CLINIC_OID}&ISO")))
    assert (msa(reply)[1], err(reply)[0][3].split("^")[0]) == ("AR", "204")


def test_an_unlink_of_who_is_unknown_is_an_error_by_name() -> None:
    reply = answer(adt("A37", "l1", pid(f"1^^^&{HOSPITAL_OID}&ISO"), pid(f"404^^^&{HOSPITAL_OID}&ISO")))
    assert (msa(reply)[1], err(reply)[0][2:4]) == ("AE", ["PID^1^3", "204^Unknown key identifier^HL70357"])


@pytest.mark.parametrize("number", [1, 3])
def test_a_link_needs_exactly_two_patients(number: int) -> None:
    reply = answer(adt("A24", "l1", *[pid(f"{n}^^^&{HOSPITAL_OID}&ISO") for n in range(1, number + 1)]))
    assert (msa(reply)[1], err(reply)[0][3].split("^")[0]) == ("AE", "100")


def test_a_moved_record_is_the_other_patients_and_stays_a_record() -> None:
    mrg = f"MRG|3^^^&{HOSPITAL_OID}&ISO"
    assert msa(answer(adt("A43", "m1", pid(f"2^^^&{HOSPITAL_OID}&ISO"), mrg)))[1] == "AA"
    assert person("3") == person("2")
    found = identifiers.resolve(HOSPITAL_OID, "3")
    assert found is not None
    assert found.active


def test_a_move_may_name_its_target_in_pid_2_and_must_name_one() -> None:
    mrg = f"MRG|3^^^&{HOSPITAL_OID}&ISO"
    same = pid(f"3^^^&{HOSPITAL_OID}&ISO")
    reply = answer(adt("A43", "m1", same, mrg))
    assert (msa(reply)[1], err(reply)[0][2]) == ("AE", "PID^1^3")
    named = same.replace("PID|1||", f"PID|1|2^^^&{HOSPITAL_OID}&ISO|", 1)
    assert msa(answer(adt("A43", "m2", named, mrg)))[1] == "AA"
    assert person("3") == person("2")


def test_a_changed_identifier_takes_over_what_was_known_and_the_person() -> None:
    before = person("1")
    scant = f"PID|1||9^^^&{HOSPITAL_OID}&ISO||Quimby^Nora"
    for _ in range(2):
        assert msa(answer(adt("A47", "r1", scant, f"MRG|1^^^&{HOSPITAL_OID}&ISO")))[1] == "AA"
        assert person("9") == person("1") == before == person("C1", CLINIC_OID)
    reply = ask("Q22", pdq("@PID.3.1^9", f"@PID.3.4.2^{HOSPITAL_OID}"))
    (found,) = segments(reply, "PID")
    assert f"9^^^&{HOSPITAL_OID}&ISO" in found[3].split("~")
    assert f"1^^^&{HOSPITAL_OID}&ISO" not in found[3].split("~")
    assert found[7] == "19710203"


def test_an_identifier_may_be_changed_back_and_forth_and_nothing_said_in_between_is_lost() -> None:
    before = person("1")
    one, nine, ten = (f"{value}^^^&{HOSPITAL_OID}&ISO" for value in ("1", "9", "10"))
    assert msa(answer(adt("A47", "b1", pid(nine, "Quimby^Nora^L", birth="19710203"), f"MRG|{one}")))[1] == "AA"
    moved = pid(nine, "Quimby^Nora^L", birth="19710203", address="8 Oak St^^Troy^NY^12180^US^H")
    assert msa(answer(adt("A08", "b2", moved)))[1] == "AA"
    for turn in range(2):
        back = adt("A47", f"b3{turn}", f"PID|1||{one}||Quimby^Nora", f"MRG|{nine}")
        assert (msa(answer(back))[1], msa(answer(back.replace(b"|b3", b"|b4")))[1]) == ("AA", "AA")
        assert person("1") == person("9") == before == person("C1", CLINIC_OID)
        (found,) = segments(ask("Q22", pdq("@PID.3.1^9", f"@PID.3.4.2^{HOSPITAL_OID}"), control_id=f"k{turn}"), "PID")
        assert one in found[3].split("~")
        assert nine not in found[3].split("~")
        assert "8 Oak St" in found[11]
        forth = adt("A47", f"b5{turn}", f"PID|1||{nine}||Quimby^Nora", f"MRG|{one}")
        assert msa(answer(forth))[1] == "AA"
        assert person("1") == person("9") == before
    # Through a third one, and back to the first at once.
    assert msa(answer(adt("A47", "b6", f"PID|1||{ten}||Quimby^Nora", f"MRG|{nine}")))[1] == "AA"
    assert msa(answer(adt("A47", "b7", f"PID|1||{one}||Quimby^Nora", f"MRG|{ten}")))[1] == "AA"
    assert person("1") == person("9") == person("10") == before
    status = dict(SourceRecord.objects.filter(participant_id="org-north").values_list("identifiers__value", "status"))
    assert (status["1"], status["9"], status["10"]) == ("active", "replaced", "replaced")


def test_changes_back_through_merges_leave_no_replaced_identifier_with_another_person() -> None:
    two, three, seven = (f"{value}^^^&{HOSPITAL_OID}&ISO" for value in ("2", "3", "7"))
    steps = [
        ("A28", pid(seven, "Zander^Ivo", birth="19210109", sex="M", address="1 Oak^^Troy"), ""),
        ("A40", pid(two, "Quimbley^Nora"), f"MRG|{three}"),
        ("A40", pid(seven, "Zander^Ivo"), f"MRG|{two}"),
        ("A47", pid(three, "Zander^Ivo"), f"MRG|{seven}"),
        ("A47", pid(two, "Zander^Ivo"), f"MRG|{three}"),
    ]
    for number, (event, named, prior) in enumerate(steps):
        sent = adt(event, f"w{number}", named, *([prior] if prior else []))
        assert msa(answer(sent))[1] == "AA", event
    assert person("2") == person("3") == person("7")
    rows = SourceRecord.objects.filter(identifiers__value__in=["2", "3", "7"], participant_id="org-north")
    assert sorted(rows.values_list("identifiers__value", "status")) == [
        ("2", "active"), ("3", "replaced"), ("7", "replaced"),
    ]  # fmt: skip


def test_a_patient_account_number_is_refused_by_its_place_and_code() -> None:
    """An account is of a stay, not of a patient: no record holds one, so none is looked for."""
    for field in ("@PID.18.1^555", "@PID.18^555"):
        reply = ask("Q22", pdq("@PID.5.1^QUIMBY", field), control_id=field[1:8])
        assert msa(reply)[1] == "AE"
        (segment,) = err(reply)
        assert (segment[2], segment[3].split("^")[0]) == ("QPD^1^3^2^1", "102")
        assert segments(reply, "PID") == []
