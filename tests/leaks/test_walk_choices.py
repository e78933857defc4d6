"""The walk over the page of choices: a helper who may choose finds no trace of choices and documents kept from him.

The patient has choices that name what is sensitive, and documents above the helper's ceiling. On the other hub she has
neither. The helper looks at the page, tries out every kind of change, saves, goes back, ends, and reads what was before.
"""

from __future__ import annotations

import html
import os
import re
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.consent.fixture import labels, node
from tests.exchange import world
from tests.leaks import place, policies
from tests.leaks.policies import LOINC, TYPES, Document, Policy
from tests.leaks.test_walk_documents import EXAMPLES
from tests.leaks.test_walk_pages import heard, helper
from tests.leaks.walking import Ear, Heard, Listener, same, taken_back, walks

pytestmark = pytest.mark.django_db

SENSITIVE = frozenset({"HIV", "PSY", "MH"})
FORM = {"treat": "general", "pay": "general", "run": "general", "research": "general", "emergency": "yes"}
TRIED = (
    {"treat": "none"},
    {"treat": "all"},
    {"treat": "named", "place": "org-clinic"},
    {"pay": "all"},
    {"pay": "none"},
    {"research": "all"},
    {"emergency": "no"},
    {
        "rule-0-show": "hide",
        "rule-0-who": "place:org-clinic",
        "rule-0-since": "2021-01-01",
        "rule-0-until": "2021-12-31",
    },
    {"rule-0-show": "show", "rule-0-who": "place:org-payer", "rule-0-kind": "", "rule-0-purpose": "HPAYMT"},
)


def is_sensitive(provision: dict[str, Any]) -> bool:
    """Whether a choice says that there is something to hide: it names a kind of information or a clinical code."""
    named = {one.get("code") for one in provision.get("securityLabel", ())}
    return bool(
        "code" in provision or named & SENSITIVE or any(is_sensitive(one) for one in provision.get("provision", ()))
    )


secret = st.sampled_from(
    (
        node("permit", node("deny", code=[{"coding": [{"system": LOINC, "code": TYPES[0]}]}])),
        node("permit", node("deny", securityLabel=labels("HIV"))),
        node("deny", code=[{"coding": [{"system": LOINC, "code": TYPES[1]}]}]),
    )
)
"""Choices that a helper up to N is not shown, of which two also say something of documents that he is."""


def side(
    held: list[Document], policy: Policy, there: list[bool], seen: list[bool], *, all_choices: bool, listener: Listener
) -> dict[Any, list[Heard]]:
    """What Sam finds on the page of choices of the patient whose documents are `there`."""
    place.takes_part(policy)
    person = place.fed()
    made = place.published(held, there, listener)
    client, user = helper("N", may_consent=True)
    plain = [one for one in policy.provisions if not is_sensitive(one)]
    hidden = [one for one in policy.provisions if is_sensitive(one)]
    ear = Ear(world.caller(), listener, {person: "<person>"} | place.called(made, seen))
    kept = place.directed(Policy(provisions=tuple(plain)), person, made, listener, {"RelatedPerson/sam": user})
    ear.known |= {one: f"<consent {number}>" for number, one in enumerate(kept)}
    not_told = [str(uuid.uuid4())]
    if all_choices:
        not_told = place.directed(Policy(provisions=tuple(hidden)), person, made, listener, {"RelatedPerson/sam": user})
    ear.known |= dict.fromkeys(not_told, "<asked>")
    assert client.post("/my/person", {"person": person}).status_code == 302
    found: dict[Any, list[Heard]] = {}

    def ask(step: str, path: str, sent: dict[str, Any] | None = None) -> None:
        found[step, path] = [heard(ear, client, path, sent)]

    ask("before", "/my/consent/")
    ask("before", "/my/consent/history")
    for number, fields in enumerate(TRIED):
        ask(f"tried {number}", "/my/consent/check", FORM | fields)
    ask("ending a hidden one", "/my/consent/check", {"end": not_told[0]})
    ask("ending one of others", "/my/consent/check", {"end": (kept or [str(uuid.UUID(int=5))])[0]})
    ask("back to nothing", "/my/consent/check", {"restore": "1"})
    for number, fields in enumerate((TRIED[0], TRIED[3])):
        shown = client.post("/my/consent/check", FORM | fields).content.decode()
        sent = {
            name: html.unescape(value) for name, value in re.findall(r'name="(action|basis)" value="([^"]*)"', shown)
        }
        ask(f"saved {number}", "/my/consent/save", sent)
        ask(f"saved again {number}", "/my/consent/save", sent)
        ask(f"after {number}", "/my/consent/")
        ask(f"after {number}", "/my/consent/history")
        ask(f"after {number}", "/my/")
    ask("restored", "/my/consent/check", {"restore": "1"})
    ask("ended", "/my/consent/check", {"end": "1"})
    for number, ids in place.not_seen(made, seen):
        one = ids["DocumentReference"].split("/")[1]
        ear.known |= {one: "<asked>"}
        found["who", number] = [heard(ear, client, f"/my/documents/{one}/who")]
    for number, (shown_ids, may) in enumerate(zip(made, seen, strict=True)):
        if shown_ids is not None and may:
            path = f"/my/documents/{shown_ids['DocumentReference'].split('/')[1]}/who"
            found["who", number] = [heard(ear, client, path)]
    return found


@walks("url", "my/consent/", "my/consent/check", "my/consent/save", "my/consent/history")
@walks("url", "my/documents/<uuid:entry_id>/who")
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=policies.documents, policy=policies.policies, hidden=secret)
def test_a_helper_who_chooses_finds_no_trace_of_what_is_kept_from_him(
    listener: Listener, held: list[Document], policy: Policy, hidden: dict[str, Any]
) -> None:
    held = [Document(letter="R"), Document(), *held][:4]
    policy = Policy(provisions=(*policy.provisions, hidden))
    seen = policies.visible("proxy", held, Policy(), purpose="PATRQT", ceiling="N")
    assert not seen[0]
    with_them = taken_back(lambda: side(held, policy, [True] * len(held), seen, all_choices=True, listener=listener))
    without = taken_back(lambda: side(held, policy, seen, seen, all_choices=False, listener=listener))
    same(with_them, without)
