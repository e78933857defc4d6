"""What the review queue, its cases and its figures say: order, counts, comparisons, effects, estimates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hie.exchange import review_cases, review_comparison, review_figures, review_list, review_stakes, stewardship
from hie.exchange.access import Staff
from hie.exchange.errors import BadRequest
from hie.exchange.review_list import Narrowed
from patients import identifiers, linking
from patients.models import Link, ReviewAct, ReviewItem
from patients.reviewing import Verdict
from tests.backoffice import cases
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange

pytestmark = pytest.mark.django_db
ADA, BO = (Staff(user_id=name, roles=frozenset({"steward"}), name=name.title()) for name in ("ada", "bo"))


def order(**narrowed: Any) -> list[int]:
    return [case.item_id for case in review_list.listed(Narrowed(**narrowed), actor="Staff/ada").cases]


# --- the list ---


def test_what_is_most_at_stake_stands_first() -> None:
    exchange()
    twins, low = cases.twins(), cases.low_score()
    assert order() == [low.pk, twins.pk]  # no documents: by the chance alone
    cases.documented(CLINIC_AUTHORITY, "T2", 2)
    assert order() == [twins.pk, low.pk]
    cases.documented(HOSPITAL_AUTHORITY, "L1", 1)
    assert order() == [low.pk, twins.pk]


def test_the_list_counts_the_documents_that_a_verdict_would_move() -> None:
    every = cases.every_kind()
    cases.documented(CLINIC_AUTHORITY, "M4", 2)
    cases.documented(HOSPITAL_AUTHORITY, "O1")
    cases.documented(HOSPITAL_AUTHORITY, "D1")  # stays with the person: taking D2 out does not move it
    listed = {case.item_id: case for case in review_list.listed(Narrowed(), actor="x").cases}
    for name, item in every.items():
        moved = max(review_stakes.documents_moved(item, verdict) for verdict in Verdict)
        assert listed[item.pk].documents == moved, name
    assert listed[every["overlay"].pk].documents == 1
    assert listed[every["doubtful-link"].pk].documents == 0
    assert listed[every["doubtful-link"].pk].records == 2
    assert listed[every["many-records"].pk].organizations == ("The Clinic", "The Hospital")


def test_the_list_is_narrowed_by_kind_owner_age_and_state() -> None:
    every = cases.every_kind()
    overlay, low = every["overlay"].pk, every["low-score"].pk
    ReviewItem.objects.filter(pk=overlay).update(created_at=timezone.now() - timedelta(days=8))
    stewardship.claim_review(low, ADA)
    stewardship.claim_review(overlay, BO)
    assert order(kind="overlay") == [overlay]
    assert order(owner="me") == order(state="mine") == [low]
    assert order(owner="others") == [overlay]
    assert set(order(owner="free")) == {item.pk for item in every.values()} - {low, overlay}
    assert order(age="7") == [overlay]
    assert order(age="30") == []
    stewardship.decide_review(low, "same", ADA, "one passport")
    assert order(state="second") == [low]
    tomorrow = timezone.now() + timedelta(days=1)
    stewardship.decide_review(overlay, "defer", BO, "asked the hospital", until=tomorrow)
    assert order(state="deferred") == [overlay]
    assert overlay not in order()
    counts = review_list.listed(Narrowed(), actor="Staff/ada").counts
    assert counts == {"waiting": len(every) - 1, "mine": 0, "second": 1, "deferred": 1}
    later = review_list.listed(Narrowed(), actor="x", now=tomorrow + timedelta(minutes=1))
    assert overlay in [case.item_id for case in later.cases]


def test_words_of_an_address_that_mean_nothing_narrow_nothing() -> None:
    assert Narrowed.of({"state": "x", "kind": "'; DROP", "owner": "y", "age": "4", "page": "²"}) == Narrowed()
    assert Narrowed.of({"page": "9" * 40}).page == 10_000


def test_the_next_case_is_the_first_that_nobody_has_and_that_is_not_ones_own_proposal() -> None:
    every = cases.every_kind()
    first, second, third = order()[:3]
    assert first == every["low-score"].pk
    stewardship.claim_review(first, ADA)
    stewardship.decide_review(first, "same", ADA, "one passport")
    stewardship.claim_review(second, BO)
    assert review_list.in_order(Narrowed(), actor="Staff/ada")[0] == third
    assert review_list.in_order(Narrowed(), actor="Staff/bo")[:2] == [first, second]
    assert review_list.in_order(Narrowed(), actor="Staff/bo", after=first)[0] == second
    assert stewardship.claim_first(review_list.in_order(Narrowed(), actor="Staff/ada"), ADA) == third


def test_the_list_costs_as_many_statements_with_forty_cases_as_with_one(django_assert_num_queries: Any) -> None:
    exchange()
    item = cases.low_score(documents=1)
    review_list.listed(Narrowed(), actor="x")
    stewardship.claim_review(item.pk, ADA)
    with django_assert_num_queries(4) as few:
        review_list.listed(Narrowed(), actor="x")
    for number in range(40):
        done = cases.fed(CLINIC_AUTHORITY, f"X{number}", cases.who(f"Given{number}", f"Family{number}", f"19{number + 10}-01-02", line=f"{number} Fen", phone=""))  # fmt: skip
        ReviewItem.objects.create(
            kind="possible-match", source_record_id=done.source_record_id, person_id=done.person_id, candidate_id=item.person_id, probability=0.5
        )  # fmt: skip
    with django_assert_num_queries(len(few)):
        listed = review_list.listed(Narrowed(), actor="x")
    waiting = ReviewItem.objects.count()
    assert (len(listed.cases), listed.total, listed.pages) == (review_list.PAGE, waiting, 3)
    assert waiting > 40
    pages = [order(page=page) for page in (1, 2, 3)]
    assert len({number for page in pages for number in page}) == waiting
    assert order(page=9) == pages[0]  # a page that is gone: the first


# --- a case ---


def test_fields_are_compared_in_words_with_their_weight() -> None:
    exchange()
    case = review_cases.case(cases.low_score(documents=3))
    rows = {row.name: row for row in case.rows}
    assert [one.words for one in rows["Family name"].compared] == ["The same"]
    assert [one.words for one in rows["Born"].compared] == ["Nearly the same: one digit differs"]
    assert [one.words for one in rows["Phone"].compared] == ["Not compared"]
    assert "".join(text for text, _ in rows["Born"].cells[1]) == "9 April 1971"
    assert any(marked for _, marked in rows["Born"].cells[1])
    assert rows["Phone"].cells[0] == (("not given", False),)
    assert rows["Family name"].weight.startswith("+")
    weights = [row.bits or 0 for row in case.rows]
    family = [float(bits.replace("−", "-")) for _, bits, _ in case.family]
    assert sum(weights) + sum(family) == pytest.approx(float(case.total.replace("−", "-")), abs=0.15)
    assert [column.documents for column in case.columns] == [0, 3]
    assert [column.identifier for column in case.columns] == ["L2", "L1"]
    assert "3 documents come together: 3 from B." in case.effects[0].sentences


@pytest.mark.parametrize(
    ("name", "heading", "why", "verdicts"),
    [
        ("low-score", "Are these two records one person?", "Below 11", ["same", "different", "defer"]),
        ("twins", "Are these two records one person?", "twins", ["same", "different", "defer"]),
        ("junior", "Are these two records one person?", "parent and child", ["same", "different", "defer"]),
        ("overlay", "Does this new version describe", "kept aside", ["same", "different", "defer"]),
        ("doubtful-link", "Does this record belong", "no longer supports", ["same", "different", "defer"]),
        ("duplicate-resolved", "Are these", "An organization said", ["same", "different", "defer"]),
        ("many-records", "Are these four records one person?", "Below 11", ["same", "different", "defer"]),
    ],
)
def test_each_kind_of_case_says_why_it_waits_and_what_may_be_decided(
    name: str, heading: str, why: str, verdicts: list[str]
) -> None:
    item = cases.every_kind()[name]
    case = review_cases.case(item)
    assert case.heading.startswith(heading)
    assert any(why in sentence for sentence in case.why), case.why
    assert [choice.verdict for choice in case.choices] == verdicts
    assert set(case.people) == set(review_stakes.persons(item))


def test_at_most_five_records_are_shown_of_both_persons_and_the_others_counted() -> None:
    exchange()
    item = cases.many_records()
    for value in ("M5", "M6", "M7"):
        cases.fed(HOSPITAL_AUTHORITY, value, cases.who("Amara", "Lindqvist-Whitt", "1968-12-01", line="1 Fen Street", phone="+12025550188"))  # fmt: skip
    case = review_cases.case(item)
    assert len(case.columns) == 5
    assert case.columns[0].person == "Person 1"
    assert {column.person for column in case.columns} == {"Person 1", "Person 2"}
    assert case.more == 2


def test_a_case_costs_as_many_statements_with_five_records_as_with_two() -> None:
    from django.db import connection

    exchange()
    two, many = cases.low_score(documents=2), cases.many_records()
    review_cases.case(two)
    with CaptureQueriesContext(connection) as first:
        review_cases.case(two)
    with CaptureQueriesContext(connection) as second:
        review_cases.case(many)
    assert len(second) == len(first) <= 30


def test_a_record_of_a_person_who_has_others_may_go_to_the_other_person_alone() -> None:
    exchange()
    item = cases.many_records()
    person = item.candidate_id
    record = Link.objects.filter(person=person).order_by("pk").values_list("source_record_id", flat=True)[0]
    turned = ReviewItem.objects.create(
        kind="possible-match", source_record_id=record, person_id=person, candidate_id=item.person_id, probability=0.5
    )
    assert [choice.verdict for choice in review_cases.case(turned).choices] == ["same", "link", "different", "defer"]


def test_what_was_seen_changes_with_a_record_and_not_by_itself() -> None:
    exchange()
    item = cases.low_score()
    seen = review_cases.case(item).seen
    assert review_cases.case(item).seen == seen
    cases.fed(CLINIC_AUTHORITY, "L2", cases.who("Rosamund", "Quarrel", "1971-04-19", phone="+12025550101", line="", city="", code=""))  # fmt: skip
    assert review_cases.case(item).seen != seen


def test_two_records_joined_meanwhile_leave_nothing_to_decide_and_the_page_still_opens() -> None:
    exchange()
    item = cases.low_score()
    linking.merge(item.candidate_id, item.person_id, actor="x")  # type: ignore[arg-type]
    item.refresh_from_db()
    case = review_cases.case(item)
    assert (case.waits, len(case.people)) == (False, 1)


def test_odds_are_said_in_words() -> None:
    assert review_comparison.odds_words(0.2) == "about even"
    assert review_comparison.odds_words(3) == "about 8 to 1 for one person"
    assert review_comparison.odds_words(-10) == "about 1,000 to 1 against one person"
    assert review_comparison.odds_words(400).startswith("more than a thousand million to 1 for")


# --- figures ---


def test_figures_of_an_empty_hub_say_that_nothing_is_known() -> None:
    found = review_figures.figures()
    assert {one.total for one in found.ages} == {0}
    assert found.false_by_model.share is None
    assert found.false_by_sample.share is None
    assert found.missed.share is None
    assert found.median is None
    assert found.drift.index is None
    assert found.sources == ()


def test_figures_count_what_waits_came_was_decided_and_was_linked() -> None:
    every = cases.every_kind()
    now = timezone.now()
    ReviewItem.objects.filter(pk=every["twins"].pk).update(created_at=now - timedelta(days=31))
    ReviewItem.objects.filter(pk=every["junior"].pk).update(created_at=now - timedelta(days=3))
    stewardship.claim_review(every["many-records"].pk, ADA)
    stewardship.decide_review(every["many-records"].pk, "same", ADA, "one phone")
    found = review_figures.figures()
    ages = {one.kind: one.counts for one in found.ages}
    assert ages["Possible match"] == (1, 1, 0, 1)
    today = found.days[-1]
    assert (today.day, today.decided) == (timezone.now().date(), 1)
    assert sum(day.came for day in found.days) == len(every) - 1  # one came a month ago
    automatic = Link.objects.filter(kind="auto", score__isnull=False)
    assert automatic.count() > 0
    assert today.linked == automatic.count()
    sources = {one.name: one for one in found.sources}
    assert sources["The Hospital"].surplus >= 2  # M1, M2 and M3 are one woman's at one hospital
    assert sources["The Clinic"].linked + sources["The Hospital"].linked == today.linked
    (band,) = [one for one in found.bands if one.decided]
    assert (band.low, band.decided, band.same) == (0.8, 1, 1)
    assert found.median is not None


def test_the_share_of_wrong_links_comes_of_links_drawn_at_random_and_decided() -> None:
    every = cases.every_kind()
    drawn = stewardship.draw_sample(ADA, 0)
    assert drawn > 0
    items = list(ReviewItem.objects.filter(sampled=True).order_by("pk"))
    assert len(items) == drawn
    assert every["doubtful-link"].source_record_id not in {item.source_record_id for item in items}
    assert stewardship.draw_sample(ADA, drawn) == 0  # each waits already
    assert review_cases.case(items[0]).why[0].startswith("This link was drawn at random")
    for item, verdict in zip(items[:2], ("same", "different"), strict=True):
        stewardship.claim_review(item.pk, ADA)
        assert stewardship.decide_review(item.pk, verdict, ADA, "looked").act == "decided"
    found = review_figures.figures().false_by_sample
    assert (found.part, found.whole) == (1, 2)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 0.5 < found.high < 1
    with pytest.raises(BadRequest):
        stewardship.draw_sample(ADA, stewardship.MOST_WAITING)


def test_the_models_own_estimate_is_the_mean_chance_that_an_automatic_link_is_wrong() -> None:
    cases.every_kind()
    Link.objects.filter(kind="auto", score__isnull=False).update(score=0.0)
    assert review_figures.figures().false_by_model.share == pytest.approx(0.5)


def test_missed_links_are_the_chances_of_what_waits() -> None:
    every = cases.every_kind()
    ReviewItem.objects.filter(kind="possible-match").update(probability=0.25)
    waiting = sum(item.kind == "possible-match" for item in every.values())
    missed = review_figures.figures().missed
    assert missed.part == pytest.approx(waiting / 4)
    assert missed.whole == pytest.approx(waiting / 4 + Link.objects.filter(kind="auto", score__isnull=False, valid_to__isnull=True).count())  # fmt: skip


def test_drift_is_told_only_of_enough_links_and_grows_with_the_change() -> None:
    assert review_figures.stability((10, 10), (10, 10)) == 0
    assert review_figures.stability((19, 1), (10, 10)) > review_figures.stability((12, 8), (10, 10)) > 0
    cases.every_kind()
    person = ReviewItem.objects.first()
    assert person is not None
    now = timezone.now()
    old = now - timedelta(days=40)
    Link.objects.bulk_create(
        Link(
            source_record_id=person.source_record_id, person_id=person.person_id, kind="auto", score=score,
            valid_from=at, valid_to=now,
        )
        for score, at in ([(12.0, old)] * 60 + [(28.0, now)] * 60)
    )  # fmt: skip
    drift = review_figures.figures(now + timedelta(seconds=1)).drift
    assert drift.before == (60, 0, 0, 0, 0)
    assert drift.lately[3] >= 60
    assert drift.index is not None
    assert drift.index > 0.25


def test_figures_cost_the_same_statements_whatever_is_there(django_assert_num_queries: Any) -> None:
    review_figures.figures()
    with django_assert_num_queries(10) as few:
        review_figures.figures()
    cases.every_kind()
    review_figures.figures()
    with django_assert_num_queries(len(few)):
        review_figures.figures()


def test_acts_are_told_newest_first_and_only_the_last_word_is_undone() -> None:
    exchange()
    item = cases.low_score(documents=1)
    stewardship.claim_review(item.pk, ADA)
    stewardship.decide_review(item.pk, "same", ADA, "one passport")
    assert [(act.kind, act.undoable) for act in review_list.acts(me="Staff/ada")] == [("proposed", True)]
    assert [(act.kind, act.undoable) for act in review_list.acts(me="Staff/bo")] == [("proposed", False)]
    stewardship.claim_review(item.pk, BO)
    stewardship.confirm_review(item.pk, BO, "seen")
    assert [(act.kind, act.undoable) for act in review_list.acts(me="Staff/ada")] == [("confirmed", True), ("proposed", False)]  # fmt: skip
    assert [act.kind for act in review_list.acts(actor="Staff/ada", me="Staff/ada")] == ["proposed"]
    assert ReviewAct.objects.count() == 2
    found = identifiers.resolve(CLINIC_AUTHORITY, "L2")
    assert found is not None
