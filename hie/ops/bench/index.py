"""How well the patient index tells people apart: `./hub bench index --data FOLDER`, rows 1 to 8, 14
15, 17 and 18 of its specification.

Each labelled set is sent to an empty hub as FHIR Patients through `POST /api/patients/imports`; accuracy is pairwise
over the person ids that come back. `./hub match_pairs` on the same file gives the scored pairs. A set says only which
column is which; columns of truth are taken away before, and the hub gets no name of a file.

The sets lie in a folder given by ``--data`` and are not part of this repository.
"""

from __future__ import annotations

import csv
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from hie.ops.bench.place import USER, Place, running
from hie.ops.sandbox.hub import FHIR_JSON

TRUTH = "cluster"
HOME = frozenset({"line", "city", "state", "postal_code", "phone"})
_POLL_S = 0.2
_ANY = {"Accept": "*/*"}
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a set are which part of a Patient."""

    key: str
    given: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    text: str = ""
    birth: tuple[str, ...] = ()
    sex: str = ""
    line: tuple[tuple[str, ...], ...] = ()
    city: str = ""
    state: str = ""
    postal_code: str = ""
    phone: str = ""
    email: str = ""
    national: str = ""
    occupation: str = ""


_FEBRL = Columns(
    key="rec_id", given=("given_name",), family=("surname",), birth=("date_of_birth",), city="suburb", state="state",
    line=(("street_number", "address_1"), ("address_2",)), postal_code="postcode", national="soc_sec_id",
)  # fmt: skip
SETS: dict[str, Columns] = {
    "febrl1": _FEBRL,
    "febrl2": _FEBRL,
    "rldata500": Columns(
        key="rec_id", given=("fname_c1", "fname_c2"), family=("lname_c1", "lname_c2"), birth=("by", "bm", "bd")
    ),
    "fake1000": Columns(
        key="unique_id", given=("first_name",), family=("surname",), birth=("dob",), city="city", email="email"
    ),
    "historical50k_a": Columns(
        key="unique_id", given=("first_name",), family=("surname",), text="full_name", birth=("dob",), sex="gender",
        city="birth_place", postal_code="postcode_fake", occupation="occupation",
    ),
    "synth_dev_40k": Columns(
        key="rec_id", given=("given_name",), family=("surname",), birth=("date_of_birth",), sex="sex", city="suburb",
        line=(("street_number", "address_1"),), state="state", postal_code="postcode", phone="phone",
        national="national_id",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table."""

    row: str
    what: str
    found: str
    bar: str
    best_other: str = ""
    holds: bool | None = None

    def __str__(self) -> str:
        mark = {True: "holds", False: "MISSED", None: ""}[self.holds]
        return f"{self.row:<4}{self.what:<58}{self.found:>24}  {self.bar:<22}{self.best_other:<30}{mark}"


HEAD = f"{'row':<4}{'measure':<58}{'found':>24}  {'bar':<22}{'best other system':<30}"


# --- a set as FHIR Patients -------------------------------------------------------------------------------------------


def patient(row: Row, columns: Columns, *, authority: str, value: str) -> dict[str, Any]:
    """A row as a FHIR Patient, under an identifier of the hub's client."""

    def texts(names: Sequence[str]) -> list[str]:
        return [text for name in names if (text := row.get(name, "").strip())]

    def text(name: str) -> str:
        return row.get(name, "").strip() if name else ""

    out: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{authority}", "value": value}],
    }
    if text(columns.national):
        out["identifier"].append({"system": "urn:bench:national", "value": text(columns.national)})
    name = {"text": text(columns.text), "family": "-".join(texts(columns.family)), "given": texts(columns.given)}
    if any(name.values()):
        out["name"] = [{key: found for key, found in name.items() if found}]
    if birth := _date(texts(columns.birth)):
        out["birthDate"] = birth
    sex = {"m": "male", "male": "male", "f": "female", "female": "female"}.get(text(columns.sex).lower())
    if sex:
        out["gender"] = sex
    address = {
        "line": [line for parts in columns.line if (line := " ".join(texts(parts)))],
        "city": text(columns.city),
        "state": text(columns.state),
        "postalCode": text(columns.postal_code),
    }
    if any(address.values()):
        out["address"] = [{key: found for key, found in address.items() if found}]
    telecom = [("phone", text(columns.phone)), ("email", text(columns.email))]
    if any(found for _, found in telecom):
        out["telecom"] = [{"system": system, "value": found} for system, found in telecom if found]
    if text(columns.occupation):
        out["extension"] = [
            {"url": "urn:bench:StructureDefinition/patient-occupation", "valueString": text(columns.occupation)}
        ]
    return out


def _date(parts: Sequence[str]) -> str:
    digits = parts[0] if len(parts) == 1 else ""
    if len(digits) == 8 and digits.isdigit():
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
    found = "-".join(part.rjust(2, "0") for part in parts)
    return found if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", found) else ""


def read(folder: Path, name: str) -> tuple[list[Row], list[str]]:
    """The rows of a set without their truth, and the truth."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    truth = [row.pop(TRUTH) for row in rows]
    return list(rows), truth


# --- what comes back --------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Accuracy:
    """Persons against truth, pair by pair. `joined` counts records put to others, `wrong` those put to others' records."""

    precision: float
    recall: float
    joined: int
    wrong: int
    mixed: int
    persons: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _f1(self.precision, self.recall)


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _pairs(sizes: Iterator[int] | Sequence[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)


def accuracy(persons: Sequence[Any], truth: Sequence[str]) -> Accuracy:
    """How these persons (one for each record) agree with the truth."""
    members: dict[Any, Counter[str]] = defaultdict(Counter)
    for person, label in zip(persons, truth, strict=True):
        members[person][label] += 1
    claimed = _pairs([sum(labels.values()) for labels in members.values()])
    right = sum(_pairs(list(labels.values())) for labels in members.values())
    true = _pairs(list(Counter(truth).values()))
    return Accuracy(
        precision=right / claimed if claimed else 1.0,
        recall=right / true if true else 1.0,
        joined=sum(sum(labels.values()) - 1 for labels in members.values()),
        wrong=sum(sum(labels.values()) - max(labels.values()) for labels in members.values()),
        mixed=sum(len(labels) > 1 for labels in members.values()),
        persons=len(members),
    )


@dataclass(slots=True, kw_only=True)
class Scored:
    """What `match_pairs` says of a file: pairs with their score, best first, and persons by kind of link."""

    pairs: list[tuple[float, bool]]
    true: int
    records: int
    certain: list[int] = field(default_factory=list)
    probable: list[int] = field(default_factory=list)
    told: str = ""

    def at_probable(self) -> tuple[float, int]:
        """F1 and the number of wrong pairs at even odds and better."""
        chosen = [right for score, right in self.pairs if score >= 0.5]
        right = sum(chosen)
        precision = right / len(chosen) if chosen else 1.0
        return _f1(precision, right / self.true if self.true else 1.0), len(chosen) - right

    def recall_at(self, precision: float) -> float:
        """The most that is found while so many of the pairs are right."""
        best = right = taken = 0
        groups: dict[float, list[bool]] = defaultdict(list)
        for score, found in self.pairs:
            groups[score].append(found)
        for score in sorted(groups, reverse=True):
            right, taken = right + sum(groups[score]), taken + len(groups[score])
            if right >= precision * taken:
                best = right
        return best / self.true if self.true else 1.0

    @property
    def refused(self) -> bool:
        """Whether the model trained on the file was refused."""
        return "refused" in self.told

    @property
    def trained_s(self) -> float:
        """Seconds of the training."""
        found = re.search(r"trained in ([0-9.]+) s", self.told)
        return float(found.group(1)) if found else 0.0


class Bench:
    """One empty hub and a participant who sends it records."""

    authority = "2.999.8.41.1"

    def __init__(self, place: Place, *, scopes: tuple[str, ...] = ()) -> None:
        self.place = place
        place.register([place.participant("bench-source", "hospital", 41, ["TREAT"], scopes=scopes)])
        self.client = place.clients["bench-source"]

    def send(self, patients: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Import these; what came of each, in order."""
        body = b"".join(json.dumps(item).encode() + b"\n" for item in patients)
        with httpx.Client(base_url=self.place.base_url, timeout=900) as http:
            answer = http.post(
                "/api/patients/imports",
                content=body,
                headers={"Authorization": f"Bearer {self.client.token()}", "Content-Type": "application/x-ndjson"},
            )
        if answer.status_code != 202:
            raise RuntimeError(f"the import answered {answer.status_code}: {answer.text[:300]}")
        where = f"/api/patients/imports/{answer.json()['id']}"
        while (state := self.client.call("GET", where, headers=_ANY).json())["status"] == "running":
            time.sleep(_POLL_S)
        if state["status"] != "done":
            raise RuntimeError(f"the import ended as {state}")
        return [json.loads(line) for line in self.client.call("GET", f"{where}/links", headers=_ANY).text.splitlines()]

    def persons(self) -> dict[str, str]:
        """Every record's person now."""
        path = self.place.folder / "links.ndjson"
        self.place.hub("links", "--out", str(path))
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return {item["identifier"]: item["person"] for item in found}

    def scored(self, patients: Sequence[Mapping[str, Any]], truth: Sequence[str]) -> Scored:
        """The pairs of these records, and the persons they make, by `match_pairs`."""
        folder = self.place.folder
        with (folder / "file.ndjson").open("w") as out:
            out.writelines(json.dumps(item) + "\n" for item in patients)
        told = self.place.hub(
            "match_pairs", str(folder / "file.ndjson"), "--threshold", "0", "--out", str(folder / "pairs.ndjson"),
            "--persons", str(folder / "persons.ndjson"),
        ).stdout  # fmt: skip
        keys = [f"{item['identifier'][0]['system']}|{item['identifier'][0]['value']}" for item in patients]
        label = dict(zip(keys, truth, strict=True))
        pairs = []
        with (folder / "pairs.ndjson").open() as lines:
            for line in lines:
                item = json.loads(line)
                pairs.append((item["score"], label[_key(item["a"])] == label[_key(item["b"])]))
        rows = [json.loads(line) for line in (folder / "persons.ndjson").read_text().splitlines()]
        return Scored(
            pairs=sorted(pairs, reverse=True), true=_pairs(list(Counter(truth).values())), records=len(patients),
            certain=[row["certain"] for row in rows], probable=[row["probable"] for row in rows], told=told,
        )  # fmt: skip


def _key(text: str) -> str:
    return text if text.startswith("urn:") else f"urn:oid:{text}"


# --- the rows ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Set:
    patients: list[dict[str, Any]]
    truth: list[str]


def _made(rows: Sequence[Row], truth: Sequence[str], columns: Columns) -> _Set:
    # The numbers say nothing: rows of one person often follow one another in a file and in its own identifiers.
    order = list(range(len(rows)))
    random.Random(5).shuffle(order)  # noqa: S311  # a benchmark, nothing secret
    return _Set(
        patients=[
            patient(rows[row], columns, authority=Bench.authority, value=f"R{number:06d}")
            for number, row in enumerate(order)
        ],
        truth=[truth[row] for row in order],
    )


def _without(columns: Columns, fields: frozenset[str]) -> Columns:
    return replace(columns, **{name: type(getattr(columns, name))() for name in fields})


def run(folder: Path, names: Sequence[str] = ()) -> Iterator[Finding]:
    """The lines of the table, as they are measured."""
    for name, columns in SETS.items():
        if names and name not in names:
            continue
        rows, truth = read(folder, name)
        with running() as place:
            yield from _of_set(Bench(place), name, _made(rows, truth, columns))
    if names and "synth_dev_40k" not in names:
        return
    rows, truth = read(folder, "synth_dev_40k")
    columns = SETS["synth_dev_40k"]
    for what, left_out in (
        ("address and phone", HOME), ("given name", frozenset({"given"})), ("birth date", frozenset({"birth"})),
    ):  # fmt: skip
        with running() as place:
            yield from _ablated(Bench(place), what, _made(rows, truth, _without(columns, left_out)))
    with running() as place:
        yield from _no_duplicates(Bench(place), *_first_of_each(rows, truth), columns)
    with running() as place:
        yield from _revisions(Bench(place), rows, truth, columns)
    with running() as place:
        yield _one_verdict(Bench(place), rows, truth, columns)
    rows, truth = read(folder, "febrl2")
    yield _arrival(rows, truth, SETS["febrl2"])


_BARS: dict[str, dict[str, Any]] = {
    "febrl1": {"row": "1", "pairs": 0.993, "other": "1.0 (Splink, before rules)"},
    "febrl2": {"row": "1", "pairs": 0.993, "other": "0.9995 (Splink, before rules)"},
    "rldata500": {"row": "2", "pairs": 0.985, "other": "1.0, 0.925 at p >= .95"},
    "fake1000": {"row": "2", "pairs": 0.96, "other": "0.917", "probable": (0.98, 0.0), "probable_other": "0.952"},
    "historical50k_a": {"row": "5", "pairs": 0.845, "other": "0.747", "probable": (0.91, 0.99),
                        "probable_other": "0.842", "blocking": (0.79, 10), "blocking_other": "0.67"},
    "synth_dev_40k": {"row": "3", "pairs": 0.990, "other": "0.909", "recall": 0.96, "recall_other": "0.435",
                      "automatic": (0.970, 0.9995), "automatic_other": "0.854 at 0.77", "probable": (0.99, 0.99)},
}  # fmt: skip


def _of_set(bench: Bench, name: str, data: _Set) -> Iterator[Finding]:
    bars = _BARS[name]
    row = bars["row"]
    links = bench.send(data.patients)
    refused = sum(link["outcome"] == "refused" for link in links)
    persons = [link["person"] or f"refused-{n}" for n, link in enumerate(links)]
    automatic = accuracy(persons, data.truth)
    scored = bench.scored(data.patients, data.truth)
    f1, wrong = scored.at_probable()
    yield Finding(
        row=row, what=f"{name}: F1 of pairs at probable", found=f"{f1:.4f} ({wrong} wrong)", bar=f">= {bars['pairs']}",
        best_other=bars["other"], holds=f1 >= bars["pairs"],
    )  # fmt: skip
    if row == "1":
        yield Finding(row=row, what=f"{name}: wrong links", found=str(wrong), bar="0", holds=wrong == 0)
    if "recall" in bars:
        recall = scored.recall_at(0.999)
        yield Finding(
            row="3", what=f"{name}: recall where precision >= 0.999", found=f"{recall:.4f}",
            bar=f">= {bars['recall']}", best_other=bars["recall_other"], holds=recall >= bars["recall"],
        )  # fmt: skip
    yield _clustered(bars, "4" if "automatic" in bars else row, f"{name}: persons the hub gave (automatic)",
                     automatic, "automatic")  # fmt: skip
    yield _clustered(bars, "4" if "automatic" in bars else row, f"{name}: persons by probable links",
                     accuracy(scored.probable, data.truth), "probable")  # fmt: skip
    if "blocking" in bars:
        found = sum(right for _, right in scored.pairs) / scored.true
        candidates = len(scored.pairs) / scored.records
        least, most = bars["blocking"]
        yield Finding(
            row="5", what=f"{name}: blocking recall at candidates a record", found=f"{found:.4f} at {candidates:.1f}",
            bar=f">= {least} at <= {most}", best_other=bars["blocking_other"],
            holds=found >= least and candidates <= most,
        )  # fmt: skip
    yield _safety(name, automatic)
    if name == "synth_dev_40k":
        yield _families(data, persons)
    if automatic.joined and scored.trained_s:
        yield Finding(row="14", what=f"{name}: training", found=f"{scored.trained_s:.1f} s", bar="<= 20 s",
                      best_other="149 s (Splink)", holds=scored.trained_s <= 20)  # fmt: skip
    if refused:
        yield Finding(row="", what=f"{name}: lines refused by the hub", found=str(refused), bar="0", holds=False)


def _clustered(bars: Mapping[str, Any], row: str, what: str, found: Accuracy, kind: str) -> Finding:
    bar = bars.get(kind)
    return Finding(
        row=row, what=what, found=f"F1 {found.f1:.4f} at {found.precision:.5f}",
        bar=f">= {bar[0]} at >= {bar[1]}" if bar else "", best_other=bars.get(f"{kind}_other", ""),
        holds=found.f1 >= bar[0] and found.precision >= bar[1] if bar else None,
    )  # fmt: skip


def _safety(name: str, found: Accuracy) -> Finding:
    share, mixed = found.wrong / max(found.joined, 1), found.mixed / max(found.persons, 1)
    holds = found.wrong == 0 if found.joined < 2000 else share <= 0.0005 and mixed <= 0.001
    return Finding(
        row="6", what=f"{name}: wrong of automatic links; persons that mix two",
        found=f"{found.wrong}/{found.joined}; {found.mixed}", bar="<= 0.05 %; <= 0.1 %",
        best_other="12 % of pairs (Splink)", holds=holds,
    )  # fmt: skip


def _families(data: _Set, persons: Sequence[str]) -> Finding:
    """Twins and juniors of the set that came into one person."""
    together: dict[str, list[int]] = defaultdict(list)
    for position, person in enumerate(persons):
        together[person].append(position)

    def parts(position: int) -> tuple[str, str, str]:
        item = data.patients[position]
        name = item.get("name", [{}])[0]
        return " ".join(name.get("given", [])), name.get("family", ""), item.get("birthDate", "")

    linked = 0
    for members in together.values():
        for n, a in enumerate(members):
            for b in members[n + 1 :]:
                if data.truth[a] == data.truth[b]:
                    continue
                (given, family, birth), (given2, family2, birth2) = parts(a), parts(b)
                twins = birth == birth2 and family == family2 and given != given2
                years = abs(int(birth[:4]) - int(birth2[:4])) if birth and birth2 else 0
                linked += twins or (given == given2 and family == family2 and years >= 15)
    return Finding(row="7", what="twins and juniors linked automatically", found=str(linked), bar="0",
                   best_other="not handled", holds=linked == 0)  # fmt: skip


def _ablated(bench: Bench, what: str, data: _Set) -> Iterator[Finding]:
    links = bench.send(data.patients)
    found = accuracy([link["person"] or f"refused-{n}" for n, link in enumerate(links)], data.truth)
    share = found.wrong / max(found.joined, 1)
    yield Finding(
        row="8", what=f"synth_dev_40k without {what}: wrong of automatic links",
        found=f"{found.wrong}/{found.joined}, F1 {found.f1:.3f}", bar="<= 0.1 %", best_other="not handled",
        holds=share <= 0.001,
    )  # fmt: skip


def _first_of_each(rows: Sequence[Row], truth: Sequence[str]) -> tuple[list[Row], list[str]]:
    first = {label: row for row, label in reversed(list(zip(rows, truth, strict=True)))}
    return list(first.values()), list(first)


def _no_duplicates(bench: Bench, rows: Sequence[Row], truth: Sequence[str], columns: Columns) -> Iterator[Finding]:
    data = _made(rows, truth, columns)
    found = accuracy([link["person"] for link in bench.send(data.patients)], data.truth)
    scored = bench.scored(data.patients, data.truth)
    yield Finding(row="8", what=f"{len(rows)} records without duplicates: automatic links", found=str(found.joined),
                  bar="<= 2 in 21,000", best_other="not handled", holds=found.joined <= 2)  # fmt: skip
    yield Finding(row="8", what="the model trained on them", found="refused" if scored.refused else "accepted",
                  bar="refused", holds=scored.refused)  # fmt: skip


def _revisions(bench: Bench, rows: Sequence[Row], truth: Sequence[str], columns: Columns) -> Iterator[Finding]:
    """Overlays: another person's data under a known identifier; genuine updates: the same person's other record."""
    by_person: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(truth):
        by_person[label].append(position)
    people = sorted(by_person)
    random.Random(6).shuffle(people)  # noqa: S311  # a benchmark, nothing secret
    several = [label for label in people if len(by_person[label]) > 1][:2000]
    strangers = people[-2000:]

    def made(position: int, value: str) -> dict[str, Any]:
        return patient(rows[position], columns, authority=Bench.authority, value=value)

    first = [made(by_person[label][0], f"U{n:05d}") for n, label in enumerate(several)]
    first += [made(by_person[label][0], f"O{n:05d}") for n, label in enumerate(strangers)]
    bench.send(first)
    # An update repeats the identifiers of the record it updates, save where the set itself lost them.
    updates = [made(by_person[label][1], f"U{n:05d}") for n, label in enumerate(several)]
    others = [made(by_person[strangers[n - 1]][0], f"O{n:05d}") for n in range(len(strangers))]
    outcomes = [link["outcome"] for link in bench.send([*updates, *others])]
    alarms, caught = outcomes[: len(updates)].count("quarantined"), outcomes[len(updates) :].count("quarantined")
    yield Finding(row="17", what="overlays caught", found=f"{caught}/{len(others)}", bar=">= 99 %",
                  holds=caught >= 0.99 * len(others))  # fmt: skip
    yield Finding(row="17", what="false alarms on genuine updates", found=f"{alarms}/{len(updates)}", bar="<= 0.5 %",
                  holds=alarms <= 0.005 * len(updates))  # fmt: skip


def _one_verdict(bench: Bench, rows: Sequence[Row], truth: Sequence[str], columns: Columns) -> Finding:
    """The score of `match_pairs` and the one of `$match`, pair by pair, by the built-in model."""
    by_person: dict[str, list[int]] = defaultdict(list)
    for position, label in enumerate(truth):
        by_person[label].append(position)
    several = [places for _, places in sorted(by_person.items()) if len(places) > 1][:140]
    known = [
        patient(rows[a], columns, authority=Bench.authority, value=f"K{n:03d}") for n, (a, *_) in enumerate(several)
    ]
    asked = [
        patient(rows[b], columns, authority=Bench.authority, value=f"Q{n:03d}") for n, (_, b, *_) in enumerate(several)
    ]
    people = {link["identifier"]: link["person"] for link in bench.send(known)}
    records = Counter(people.values())
    scored_path = bench.place.folder / "pairs.ndjson"
    bench.scored([*known, *asked], [""] * (len(known) + len(asked)))
    bulk: dict[tuple[str, str], float] = {}
    for line in scored_path.read_text().splitlines():
        item = json.loads(line)
        bulk[_key(item["a"]), _key(item["b"])] = item["score"]
    same = compared = 0
    for item in asked:
        own = item["identifier"][0]
        body = {name: value for name, value in item.items() if name != "identifier"}
        if others := item["identifier"][1:]:
            body["identifier"] = others
        answer = bench.client.call(
            "POST", "/fhir/Patient/$match", user=USER, purpose="TREAT", json=body, headers={"Content-Type": FHIR_JSON}
        ).json()
        found = {entry["resource"]["id"]: entry["search"]["score"] for entry in answer.get("entry", [])}
        for identifier, person in people.items():
            score = bulk.get((_key(identifier), f"{own['system']}|{own['value']}"))
            # One record is one pair; persons of several are judged by all their records.
            if score is None or records[person] > 1 or person not in found:
                continue
            compared += 1
            same += abs(score - found[person]) <= 1e-6
    return Finding(row="15", what="pairs with one verdict by bulk and in real time", found=f"{same}/{compared}",
                   bar="100 %", best_other="not tested by any", holds=same == compared > 0)  # fmt: skip


def _arrival(rows: Sequence[Row], truth: Sequence[str], columns: Columns) -> Finding:
    """F1 of the persons that come about when the records arrive in portions, in three orders."""
    found: list[float] = []
    data = _made(rows, truth, columns)
    for seed in (1, 2, 3):
        order = list(range(len(rows)))
        random.Random(seed).shuffle(order)  # noqa: S311  # a benchmark, nothing secret
        with running() as place:
            bench = Bench(place)
            for start in range(0, len(order), 1000):
                bench.send([data.patients[n] for n in order[start : start + 1000]])
            people = bench.persons()
        keys = [f"urn:oid:{Bench.authority}|{item['identifier'][0]['value']}" for item in data.patients]
        found.append(accuracy([people[key] for key in keys], data.truth).f1)
    spread = max(found) - min(found)
    return Finding(row="18", what="febrl2 in portions, three orders of arrival: spread of F1", found=f"{spread:.4f}",
                   bar="<= 0.002", best_other="not tested by any", holds=spread <= 0.002)  # fmt: skip
