"""A change of model is seen before it happens, and reviewers' verdicts move the scores (spec/mpi.md 3, Guard)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from patients import calibration, linking, maintenance, shadow
from patients.matching import Model, Scorer, default_model, probability
from patients.models import IdentityEvent, Link, MatchDecision, MatchModel, Person
from patients.normalise import features
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db


def kept(version: str, **changes: object) -> MatchModel:
    """A model in shadow: the built-in one, but for these changes."""
    parameters = {**default_model().to_json(), "version": version, **changes}
    return MatchModel.objects.create(version=version, status="shadow", parameters=parameters)


def two_records_of_maria() -> None:
    linking.feed(record("A1"))
    linking.feed(record("B1", demographics(birth_date="1980-03-15"), org="hospital"))


def test_a_shadow_run_lists_who_would_be_split_and_changes_nobody() -> None:
    two_records_of_maria()
    before = (Person.objects.count(), Link.objects.count(), IdentityEvent.objects.count())
    kept("strict", correction=-30.0)
    found = shadow.run("strict")
    person = Link.objects.order_by("pk")[0].person_id
    assert found.merged == []
    assert [(who, len(parts)) for who, parts in found.split] == [(person, 2)]
    assert (Person.objects.count(), Link.objects.count(), IdentityEvent.objects.count()) == before
    kept("same")
    assert shadow.run("same").statistics() | {"records": 0} == {
        "records": 0, "links_before": 1, "links_after": 1, "largest": 2, "merged": 0, "split": 0, "implausible": "",
    }  # fmt: skip


def test_a_shadow_run_lists_who_would_be_merged_but_not_whom_a_steward_parted() -> None:
    MatchModel.objects.create(
        version="now", status="active", parameters={**default_model().to_json(), "version": "now", "correction": -30.0}
    )
    two_records_of_maria()
    kept("bold")
    found = shadow.run("bold")
    assert found.merged == [sorted(Person.objects.values_list("pk", flat=True))]
    first, second = Link.objects.order_by("source_record_id").values_list("source_record_id", flat=True)
    MatchDecision.objects.create(record_a_id=first, record_b_id=second, verdict="different", reviewer="x")
    assert shadow.run("bold").merged == []


def test_a_model_goes_live_only_after_a_plausible_shadow_run() -> None:
    kept("new")
    with pytest.raises(CommandError, match="has not run in shadow"):
        call_command("match_model", "activate", "new", stdout=io.StringIO())
    shadow.run("new")
    row = MatchModel.objects.get(version="new")
    row.statistics["shadow"]["implausible"] = "it makes 900 links where there are 10 today"
    row.save()
    with pytest.raises(CommandError, match="implausible"):
        call_command("match_model", "activate", "new", stdout=io.StringIO())
    shadow.run("new")
    call_command("match_model", "activate", "new", stdout=io.StringIO())
    assert MatchModel.objects.get(version="new").status == "active"
    kept("newer")
    shadow.run("newer")
    call_command("match_model", "activate", "newer", stdout=io.StringIO())
    assert dict(MatchModel.objects.values_list("version", "status")) == {"new": "retired", "newer": "active"}


def test_a_refused_or_unknown_model_never_goes_live() -> None:
    MatchModel.objects.create(
        version="bad", status="refused", parameters={}, statistics={"shadow": {"implausible": ""}}
    )
    for version, reason in (("bad", "refused by the guard"), ("none", "no model none")):
        with pytest.raises(CommandError, match=reason):
            call_command("match_model", "activate", version, stdout=io.StringIO())


def test_the_command_writes_the_list_of_a_shadow_run(tmp_path: Path) -> None:
    two_records_of_maria()
    kept("strict", correction=-30.0)
    call_command("match_model", "shadow", "strict", "--out", str(tmp_path / "out"), stdout=io.StringIO())
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [sorted(line) for line in lines] == [["into", "split"]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""), ({"links_after": 2000}, "2000 links"), ({"largest": 101}, "person of 101"),
        ({"largest": 101, "largest_before": 101}, ""),
    ],
)  # fmt: skip
def test_more_links_or_larger_persons_than_can_be_are_implausible(changes: dict[str, int], reason: str) -> None:
    found = shadow.Changes(**({"records": 9000, "links_before": 1000, "links_after": 1100, "largest": 20} | changes))
    assert reason in found.implausible
    assert bool(found.implausible) is bool(reason)


def test_reviewers_move_scores_only_when_there_are_enough_of_them() -> None:
    assert calibration.correction([(3.0, False)] * 49) == 0.0
    assert calibration.correction([(3.0, False)] * 50) < -3.0
    assert calibration.correction([(3.0, True)] * 500) > 0.0


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=50, max_size=80))
def test_a_correction_is_bounded_and_one_more_verdict_never_moves_it_the_wrong_way(
    reviewed: list[tuple[float, bool]],
) -> None:
    bits = calibration.correction(reviewed)
    assert calibration.LOWEST <= bits <= calibration.HIGHEST
    assert calibration.correction([*reviewed, (0.0, True)]) >= bits
    assert calibration.correction([*reviewed, (0.0, False)]) <= bits


def test_well_judged_scores_need_no_correction() -> None:
    reviewed = [(bits, n < round(1000 * probability(bits))) for bits in (-2.0, 0.0, 2.0, 4.0) for n in range(1000)]
    assert abs(calibration.correction(reviewed)) < 0.05


def test_a_correction_moves_every_score_by_its_bits() -> None:
    one, other = features(demographics()), features(demographics(family="Okafor"))
    moved = Scorer(Model.from_json(default_model().to_json() | {"correction": -3.0}))
    assert Scorer(default_model()).score(one, other).score - moved.score(one, other).score == pytest.approx(3.0)
    assert sum(moved.score(one, other).weights.values()) == pytest.approx(moved.score(one, other).score)


def test_training_takes_what_reviewers_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    syllables = ["ba", "ko", "li", "mu", "re", "sa", "ti", "vo"]
    people = [
        demographics(a + b, b + c + a, f"19{n % 60 + 20}-{n % 12 + 1:02}-{n % 27 + 1:02}", phone=f"555-{n:07}", line="")
        for n, (a, b, c) in enumerate((a, b, c) for a in syllables for b in syllables for c in syllables)
    ]
    for n, person in enumerate(people[:310]):
        linking.feed(record(f"A{n}", person))
    pairs = [(features(demographics()), features(demographics(birth_date="1980-03-15")), False)] * 60
    monkeypatch.setattr(maintenance, "_reviewed", lambda: pairs)
    row = maintenance.train()
    assert row is not None
    assert Model.from_json(row.parameters).correction < -1.0
