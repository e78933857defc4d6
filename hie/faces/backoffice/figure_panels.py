"""The dashboards of the desk: from sums to panels with a subject, a finding, shapes, and the table of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from hie.audit.figures import SMALLEST, Cell
from hie.audit.figures_of_log import Came
from hie.exchange import figures
from hie.exchange.figure_sources import DOCUMENT_FIELDS, RECORD_FIELDS, Delay
from hie.exchange.figures import Exchange, Feeds, Matching, Period
from hie.exchange.small_cells import Shown
from hie.faces.backoffice import figure_words as words
from hie.faces.backoffice.charts import STYLES, Key, Panel, Row, bars, lines, share_bar, stacks

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard: the sentence above it, its panels, and up to when they are counted."""

    lead: str
    panels: tuple[Panel, ...]
    counted_at: datetime | None


def exchange(at: Period, organization: str, names: Names) -> Board:
    """Documents read and questions asked."""
    found = figures.exchange(at, organization)
    whose = f" by {names.get(organization, organization)}" if organization else ""
    lead = (
        f"{found.documents:,} documents were read in full{whose}."
        if found.documents is not None
        else f"{words.TOO_FEW} had documents read in full{whose}, or nobody."
    )
    return Board(lead=lead, counted_at=found.counted_at, panels=(
        _days(found, at),
        _plain("organizations", "By organization", "Organization", "Documents", _named(found.by_organization, names), found.by_organization.hidden),
        _plain("purposes", "By purpose", "Purpose", "Documents", _worded(found.by_purpose, words.PURPOSES), found.by_purpose.hidden),
        _asked(found.asked),
    ))  # fmt: skip


def _days(found: Exchange, at: Period) -> Panel:
    steps, earlier = at.steps(), at.before.steps()
    now = [_n(found.days.at(one)) for one in steps]
    # Two calendar months are not equally long: the days are laid over one another from the first on.
    before = [_n(found.before.at(one)) for one in earlier][: len(steps)]
    before += [None] * (len(steps) - len(before))
    whole = not (found.days.hidden or found.before.hidden)
    finding = (
        words.compared(found.days.n, found.before.n, "documents")
        if whole and found.days.cells
        else f"{found.days.n:,} documents on the days that can be shown."
        if found.days.cells
        else "There is no day to show."
    )
    unit = "day" if at.step == "day" else "month"
    rows = tuple(Row(words.step(one, at), (_said(n), _said(b))) for one, n, b in zip(steps, now, before, strict=True))
    labels = [words.step(one, at) for one in steps]
    return Panel(
        key="days", heading=f"Documents read each {unit}", finding=finding, columns=(unit.capitalize(), "Now", "Before"), rows=rows,
        note=words.hidden(found.days.hidden + found.before.hidden),
        keys=(Key("l1", "This period", line=True), Key("l2", "The time before", line=True)),
        plot=lines(steps, ("l2", before), ("l1", now), words=labels),
    )  # fmt: skip


def _asked(asked: Shown) -> Panel:
    kinds = [one for one in words.GROUPS if asked.of(0, one) and one != "door"]
    numbers = [(words.GROUPS[one], [_n(asked.at(one, came)) or 0 for came in Came]) for one in kinds]
    return Panel(
        key="asked", heading="What was asked and sent", finding=_refusals(numbers),
        columns=("What", *words.CAME.values()),
        rows=tuple(Row(name, tuple(f"{one:,}" for one in some)) for name, some in numbers),
        bars=stacks(numbers), keys=_legend(words.CAME.values()), note=words.hidden(asked.hidden),
    )  # fmt: skip


def _refusals(numbers: Sequence[tuple[str, Sequence[int]]]) -> str:
    whole, refused = sum(sum(some) for _, some in numbers), sum(some[2] for _, some in numbers)
    if not whole:
        return "There is nothing to show."
    return f"{whole:,} requests, counted once for each patient; {words.share(refused, whole)} of them refused."


def answers(at: Period, names: Names) -> Board:
    """How others answered, and what was refused here."""
    found = figures.answers(at)
    how = ("answered", "late", "refused", "failed")
    asked = sorted({str(one.keys[0]) for one in found.by_community.cells})
    by_community = [(names.get(one, one), [_n(found.by_community.at(one, how_)) or 0 for how_ in how]) for one in asked]
    whole = sum(sum(some) for _, some in by_community)
    late, failed = (sum(some[n] for _, some in by_community) for n in (1, 3))
    withheld = sum(one.n for one in found.by_community.cells if one.keys[1] == "withheld")
    steps = at.steps()
    good, bad = ([_n(found.by_day.at(one, name)) for one in steps] for name in ("answered", "late"))
    refused = found.by_rule
    lead = f"{whole:,} questions to others, {words.share(late, whole)} answered late, {words.share(failed, whole)} failed." if whole else "No question to others can be shown."  # fmt: skip
    return Board(lead=lead, counted_at=found.counted_at, panels=(
        Panel(
            key="communities", heading="How communities answer", finding=_worst(by_community),
            columns=("Community", *(words.ANSWERS[one] for one in how)),
            rows=tuple(Row(name, tuple(f"{one:,}" for one in some)) for name, some in by_community),
            bars=stacks(by_community), keys=_legend(words.ANSWERS[one] for one in how), note=words.hidden(found.by_community.hidden),
        ),
        Panel(
            key="answers-days", heading=f"Answers each {at.step}",
            finding=f"{withheld:,} questions were not sent, as the patient’s choice forbids it. The asker is not told." if withheld else "No question kept back by a choice can be shown.",
            columns=(at.step.capitalize(), words.ANSWERS["answered"], words.ANSWERS["late"]),
            rows=tuple(Row(words.step(one, at), (_said(g), _said(b))) for one, g, b in zip(steps, good, bad, strict=True)),
            keys=(Key("l1", words.ANSWERS["answered"], line=True), Key("l2", words.ANSWERS["late"], line=True)),
            plot=lines(steps, ("l2", bad), ("l1", good), words=[words.step(one, at) for one in steps]),
            note=words.hidden(found.by_day.hidden),
        ),
        _plain("rules", "Refused here, by rule", "Rule", "Requests", _by_n(refused, lambda one: str(one)), refused.hidden, most="is the rule behind most refusals"),
        _plain("refused-organizations", "Refused here, by who asked", "Organization", "Requests", _named(found.by_organization, names), found.by_organization.hidden, most="was refused most often"),
        _plain("door", "Refused at the door", "Organization", "Requests", _named(found.at_the_door, names), 0, most="was turned away most often, before any record was looked up"),
    ))  # fmt: skip


def _worst(rows: Sequence[tuple[str, Sequence[int]]]) -> str:
    known = [(some[1] + some[3], sum(some), name) for name, some in rows if sum(some)]
    if not known:
        return "There is nothing to show."
    bad, whole, name = max(known, key=lambda one: (one[0] / one[1], one[1]))
    return f"{name} is late or fails {words.share(bad, whole)} of the time." if bad else "All answer in time."


def matching(at: Period) -> Board:
    """How records became persons."""
    found = figures.matching(at)
    undone = sum(one.n for one in found.changes.cells if one.keys[0] in ("unlinked", "unmerged", "split"))
    certain = _n(found.links.at("certain"))
    model = f"Model {found.model} is in force since {found.model_since:%-d %B %Y}." if found.model and found.model_since else "No trained model is in force: the first weights decide."  # fmt: skip
    overlays = found.changes.at("overlay-suspected")
    steps = at.steps()
    each = [_n(found.days.at(one)) for one in steps]
    return Board(lead=model, counted_at=found.counted_at, panels=(
        _plain("links", "How records were linked", "Link", "Records", _worded(found.links, words.LINKS), found.links.hidden,
            finding=f"{certain:,} records joined a known person by the machine." if certain is not None else None),
        Panel(
            key="links-days", heading=f"Links by the machine each {at.step}",
            finding=f"{found.days.n:,} links on the {at.step}s that can be shown." if found.days.cells else f"There is no {at.step} to show.",
            columns=(at.step.capitalize(), "Links"), rows=tuple(Row(words.step(one, at), (_said(n),)) for one, n in zip(steps, each, strict=True)),
            plot=lines(steps, ("l1", each), words=[words.step(one, at) for one in steps]), note=words.hidden(found.days.hidden),
        ),
        _plain("changes", "Corrections and overlays", "What", "Times", _by_n(found.changes, words.of_change), found.changes.hidden,
            finding=f"{undone:,} {'link was' if undone == 1 else 'links were'} found wrong and undone." + (f" {overlays.n:,} overlays suspected." if overlays else "")),
        _reviews(found),
    ))  # fmt: skip


def _reviews(found: Matching) -> Panel:
    rows = tuple(
        Row(
            f"{str(kind).replace('-', ' ').capitalize()}: {str(what).replace(':', ', ').strip(', ')}",
            (f"{cell.n:,}", _long(cell.total // cell.n)),
        )
        for cell in found.reviews.cells
        for kind, what in [cell.keys]
    )
    decided = sum(one.n for one in found.reviews.cells if str(one.keys[1]).startswith(("decided", "confirmed")))
    return Panel(
        key="reviews", heading="What stewards decided", finding=f"{decided:,} cases decided, of those that can be shown.",
        columns=("Case and verdict", "Times", "Came before, on average"), rows=rows, note=words.hidden(found.reviews.hidden),
    )  # fmt: skip


def choices(at: Period) -> Board:
    """What patients chose."""
    found = figures.chosen(at)
    made = found.choices.at("any")
    if found.on is None:
        lead = "Choices were not counted in this period."
    elif made is None:
        lead = f"{words.TOO_FEW} of {found.patients:,} known patients have made a choice."
    else:
        lead = f"Of {found.patients:,} known patients, {words.share(made.n, found.patients)} have made a choice of their own."
    rows = [(name, n) for name, n in _by_n(found.choices, words.of_choices) if name != "any"]
    steps, step = at.steps(), at.step
    now = {one.keys[0]: one.n for one in found.days.cells}
    daily = at if step == "day" else None
    each = {name: [_n(found.changes.at(one, name)) for one in steps] for name in words.CHOICE_CHANGES}
    states = [now.get(one) for one in steps] if daily else [now[one] for one in sorted(now)]
    labels = [words.step(one, at) for one in steps] if daily else [f"{one:%-d %b %Y}" for one in sorted(now)]
    changed = sum(one.n for one in found.changes.cells)
    return Board(lead=lead, counted_at=found.counted_at, panels=(
        Panel(
            key="choices", heading="What patients chose", columns=("Choice", "Patients"),
            finding=f"{found.patients - made.n:,} leave it to the general rule. A patient may have made several choices." if made and found.patients - made.n >= SMALLEST else "A patient may have made several choices.",
            rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows), note=words.hidden(found.choices.hidden),
        ),
        Panel(
            key="choosing", heading="Patients with a choice of their own",
            finding=_grown(states), columns=("Day", "Patients"),
            rows=tuple(Row(name, (_said(n),)) for name, n in zip(labels, states, strict=True)),
            plot=lines([date.min] * len(states), ("l1", states), words=labels) if states else None,
        ),
        Panel(
            key="changes", heading=f"Choices changed each {step}",
            finding=f"{changed:,} changes, of those that can be shown." if changed else "There is no change to show.",
            columns=(step.capitalize(), *words.CHOICE_CHANGES.values()),
            rows=tuple(Row(words.step(one, at), tuple(_said(each[name][n]) for name in each)) for n, one in enumerate(steps)),
            keys=tuple(Key(style, name, line=True) for style, name in zip(("l1", "l2", "l3"), words.CHOICE_CHANGES.values(), strict=True)),
            plot=lines(steps, *((style, each[name]) for style, name in zip(("l1", "l2", "l3"), each, strict=True)), words=[words.step(one, at) for one in steps]),
            note=words.hidden(found.changes.hidden),
        ),
    ))  # fmt: skip


def _grown(states: Sequence[int | None]) -> str:
    known = [one for one in states if one is not None]
    if not known:
        return "There is no day to show."
    first, last = known[0], known[-1]
    if first == last:
        return f"{last:,} patients, as many as at the beginning."
    return f"{last:,} patients, {abs(last - first):,} {'more' if last > first else 'fewer'} than at the beginning."


def feeds(at: Period, names: Names) -> Board:
    """How complete and timely each participant is."""
    found = figures.feeds(at)
    everybody = found.participants()
    lead = f"{len(everybody):,} participants sent something that can be shown." if everybody else "No participant sent anything that can be shown."  # fmt: skip
    table = [
        Row(names.get(one, one), (
            _filled(found.record_fields, one, RECORD_FIELDS), _filled(found.document_fields, one, DOCUMENT_FIELDS),
            _within(found.delays, one), _within(found.feed_delays, one), _failed(found.sent, one), _messages(found.messages, one), _surplus(found.records, one),
            _better(found, one),
        ))
        for one in everybody
    ]  # fmt: skip
    table.sort(key=lambda row: row.name)
    return Board(lead=lead, counted_at=found.counted_at, panels=(
        Panel(
            key="completeness", heading="Completeness and timeliness", rows=tuple(table),
            finding="“Arrives within” holds for nine of ten, from the creation of a document, and from the entry of what an HL7 message tells. A dash: too few people, or nothing.",
            columns=("Participant", "Fields of patients filled", "Fields of documents filled", "Documents arrive within", "Patients’ news arrives within", "Refused or failed", "HL7 messages failed", "Duplicates", "Documents, to the time before"),
            note=words.hidden(found.record_fields.hidden + found.document_fields.hidden + found.delays.hidden + found.sent.hidden),
        ),
        _fields("record-fields", "Details of patients, by field", found.record_fields, RECORD_FIELDS, "new records"),
        _fields("document-fields", "Details of documents, by field", found.document_fields, DOCUMENT_FIELDS, "documents"),
    ))  # fmt: skip


def _fields(key: str, heading: str, cells: Shown, fields: Sequence[str], of: str) -> Panel:
    """How often each field is filled, over all participants that can be shown."""
    rows = []
    for name in fields:
        some = cells.of(1, name)
        rows.append((words.FIELDS[name], sum(one.total for one in some), sum(one.n for one in some)))
    known = [row for row in rows if row[2]]
    worst = min(known, key=lambda row: row[1] / row[2]) if known else None
    drawn = tuple(share_bar(name, part, whole) for name, part, whole in known)
    return Panel(
        key=key, heading=heading,
        finding=f"{worst[0]} is missing most often: {words.share(worst[1], worst[2])} of {worst[2]:,} {of} have it." if worst else "There is nothing to show.",
        columns=("Field", "Filled", "Of", "Share"),
        rows=tuple(Row(name, (f"{part:,}", f"{whole:,}", words.share(part, whole))) for name, part, whole in known), bars=drawn,
    )  # fmt: skip


def _filled(cells: Shown, participant: str, fields: Sequence[str]) -> str:
    some = [one for one in cells.of(0, participant) if one.keys[1] in fields]
    return words.share(sum(one.total for one in some), sum(one.n for one in some))


def within(cells: Sequence[Cell]) -> str:
    """In what time nine of ten came, of cells whose last key is a delay; a dash where none has a time."""
    numbers = {str(one.keys[-1]): one.n for one in cells}
    whole = sum(n for name, n in numbers.items() if name != Delay.UNKNOWN)
    reached = 0
    for name in Delay:
        if name == Delay.UNKNOWN:
            continue
        reached += numbers.get(name, 0)
        if whole and reached >= 0.9 * whole:
            return words.DELAYS[name]
    return "–"


def _within(cells: Shown, participant: str) -> str:
    return within(cells.of(0, participant))


def _failed(cells: Shown, participant: str) -> str:
    some = {str(one.keys[1]): one.n for one in cells.of(0, participant)}
    return words.share(some.get(Came.REFUSED, 0) + some.get(Came.FAILED, 0), sum(some.values()))


def _messages(cells: Shown, participant: str) -> str:
    some = {str(one.keys[1]): one.n for one in cells.of(0, participant)}
    return words.share(some.get("refused", 0) + some.get("failed", 0), sum(some.values()))


def _surplus(cells: Shown, participant: str) -> str:
    cell = cells.at(participant)
    return f"{cell.total:,} of {cell.n:,}" if cell else "–"


def _better(found: Feeds, participant: str) -> str:
    now, before = (cells.of(0, participant) for cells in (found.document_fields, found.document_fields_before))
    if not now or not before:
        return "–"
    change = round(100 * (_share(now) - _share(before)))
    return "The same" if not change else f"Better, +{change}" if change > 0 else f"Worse, −{-change}"


def _share(cells: Sequence[Cell]) -> float:
    return sum(one.total for one in cells) / max(1, sum(one.n for one in cells))


# --- shared -----------------------------------------------------------------------------------------------------------


def _n(cell: Cell | None) -> int | None:
    return cell.n if cell is not None else None


def _said(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _long(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "under a minute"


def _by_n(cells: Shown, name: Callable[[str], str]) -> list[tuple[str, int]]:
    rows = [(name(str(one.keys[0])), one.n) for one in cells.cells]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _named(cells: Shown, names: Names) -> list[tuple[str, int]]:
    kept = Shown(tuple(one for one in cells.cells if one.keys[0] not in ("", "hub")), cells.hidden)
    return _by_n(kept, lambda one: names.get(one, one))


def _worded(cells: Shown, said: Mapping[str, str]) -> list[tuple[str, int]]:
    return _by_n(cells, lambda one: said.get(one, one))


def _plain(
    key: str,
    heading: str,
    first: str,
    second: str,
    rows: Sequence[tuple[str, int]],
    hidden: int,
    *,
    most: str = "has most",
    finding: str | None = None,
) -> Panel:
    """Bars of one number each."""
    if finding is None:
        whole = sum(n for _, n in rows)
        finding = f"{rows[0][0]} {most}: {words.share(rows[0][1], whole)} of what is shown." if rows else "There is nothing to show."  # fmt: skip
    return Panel(
        key=key, heading=heading, finding=finding, columns=(first, second), note=words.hidden(hidden),
        rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows),
    )  # fmt: skip


def _legend(said: Iterable[str]) -> tuple[Key, ...]:
    return tuple(Key(style, name) for style, name in zip(STYLES, said, strict=False))
