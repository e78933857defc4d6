"""Whatever a client states, it is read or refused as invalid_request, never a crash."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hie.trust import extensions
from hie.trust.errors import TokenRefused
from tests.directory.test_forms_property import ANYTHING
from tests.trust.conftest import b2b

MEMBERS = st.sampled_from([*b2b(), "consent_policy", "person_id", "relationship", "care_teams", "other"])
IUA = st.sampled_from(["person_id", "subject_role", "purpose_of_use", "subject_name", "x"])
HIE = st.sampled_from(["relationship", "care_teams", "on_behalf_of", "x"])


def read(claims: object) -> None:
    try:
        stated = extensions.read({"extensions": claims})
    except TokenRefused as refused:
        assert refused.code == "invalid_request"  # noqa: PT017 - either outcome is right, a crash is not
    else:
        assert stated.purpose is None or isinstance(stated.purpose, str)


@settings(max_examples=120, deadline=None)
@given(
    b2b_part=st.dictionaries(MEMBERS, ANYTHING, max_size=3),
    iua=st.none() | st.dictionaries(IUA, ANYTHING, max_size=3),
    hie=st.none() | st.dictionaries(HIE, ANYTHING, max_size=2),
)
def test_any_statement_is_read_or_refused(b2b_part, iua, hie):
    whole: dict[str, object] = {"hl7-b2b": b2b() | b2b_part} if iua is None else {"ihe_iua": iua}
    if hie is not None:
        whole["hie"] = hie
    read(whole)


@settings(max_examples=80, deadline=None)
@given(claims=ANYTHING)
def test_any_extensions_are_read_or_refused(claims):
    read(claims)
