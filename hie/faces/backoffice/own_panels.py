"""A participant's own view at the desk: what staff read of it is what the participant reads over the API, in panels."""

from __future__ import annotations

from collections.abc import Sequence

from hie.audit.figures import Cell
from hie.audit.figures_of_log import ASKING, SENDING, Came
from hie.exchange import own_figures
from hie.exchange.figures import Period
from hie.exchange.own_figures import Own
from hie.faces.backoffice import figure_words as words
from hie.faces.backoffice.charts import Key, Panel, Row, bars, lines, share_bar, stacks
from hie.faces.backoffice.figure_panels import Board, Names, within


def participant(participant_id: str, at: Period, names: Names) -> Board:
    """What it asked, sent and failed, who asks for its documents and who may."""
    own = own_figures.of_participant(participant_id, at)
    asked, sent = (sum(one.total for one in some) for some in (own.asked, own.sent))
    return Board(
        lead=f"{names.get(participant_id, participant_id)} asked {asked:,} times and sent {sent:,} times. It reads the same over the API.",
        counted_at=own.counted_at,
        panels=(
            _days(own), _kinds(own), _sent(own), _received(own),
            _fields("own-record-fields", "Details of new patients", own.record_fields, "new records"),
            _fields("own-document-fields", "Details of documents", own.document_fields, "documents"),
            _in_time(own), _fed_in_time(own), _asked_for(own, names), _may_ask(own, names),
        ),
    )  # fmt: skip


def _days(own: Own) -> Panel:
    at, steps = own.period, own.period.steps()
    series = []
    for some in (own.asked, own.sent):
        found: dict[object, int] = {}
        for one in some:
            found[one.keys[0]] = found.get(one.keys[0], 0) + one.total
        series.append([found.get(one, 0) for one in steps])
    asked, sent = series
    return Panel(
        key="own-days", heading=f"Requests each {at.step}",
        finding=f"{sum(asked):,} requests asked something, {sum(sent):,} sent something. Each counts once, whoever it was about.",
        columns=(at.step.capitalize(), "Asked", "Sent"),
        rows=tuple(Row(words.step(one, at), (f"{a:,}", f"{b:,}")) for one, a, b in zip(steps, asked, sent, strict=True)),
        keys=(Key("l1", "Asked", line=True), Key("l2", "Sent", line=True)),
        plot=lines(steps, ("l2", sent), ("l1", asked), words=[words.step(one, at) for one in steps]),
    )  # fmt: skip


def _kinds(own: Own) -> Panel:
    rows = [(words.GROUPS[group], sum(one.total for one in own.asked if one.keys[1] == group)) for group in ASKING]
    door = sum(one.total for one in own.refused)
    rows = [*((name, n) for name, n in rows if n), *([("Refused at the door", door)] if door else [])]
    return Panel(
        key="own-asked", heading="What it asked",
        finding=f"{door:,} requests were refused before any record was looked up; {own.broke:,} failed by a fault of ours.",
        columns=("What", "Requests"), rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows),
        note="What was held back because of a patient’s choice is no figure here, and no refusal either.",
    )  # fmt: skip


def _sent(own: Own) -> Panel:
    came = (Came.ANSWERED, Came.REFUSED, Came.FAILED)
    rows = []
    for group in SENDING:
        numbers = [sum(one.total for one in own.sent_as if one.keys == (group, how)) for how in came]
        if sum(numbers):
            rows.append((words.GROUPS[group], numbers))
    messages = {str(one.keys[0]): one.n for one in own.messages}
    if messages:
        rows.append(("HL7 messages", [messages.get(one, 0) for one in ("accepted", "refused", "failed")]))
    whole, bad = sum(sum(some) for _, some in rows), sum(some[1] + some[2] for _, some in rows)
    again = sum(one.total for one in own.messages)
    said = f"{words.share(bad, whole)} of what it sent was refused or failed." if whole else "It sent nothing."
    heads = ("Taken", "Refused", "Failed")
    return Panel(
        key="own-sent", heading="What it sent", finding=f"{said} {again:,} messages came more than once." if again else said,
        columns=("What", *heads), rows=tuple(Row(name, tuple(f"{one:,}" for one in some)) for name, some in rows),
        bars=stacks(rows), keys=(Key("c1", heads[0]), Key("hatch", heads[1]), Key("hatch4", heads[2])),
    )  # fmt: skip


def _received(own: Own) -> Panel:
    said = {"metadata": "Entries of documents", "bytes": "Documents in full", "demographics": "Details of patients"}
    rows = [(said[what], one.n) for one in own.received for (what,) in [one.keys] if what in said]
    return Panel(
        key="own-received", heading="What it received", finding=f"{sum(n for _, n in rows):,} things left for it.",
        columns=("What", "Times"), rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows),
    )  # fmt: skip


def _fields(key: str, heading: str, cells: Sequence[Cell], of: str) -> Panel:
    rows = [(words.FIELDS[str(one.keys[0])], one.total, one.n) for one in cells]
    worst = min(rows, key=lambda row: row[1] / max(1, row[2])) if rows else None
    return Panel(
        key=key, heading=heading,
        finding=f"{worst[0]} is missing most often: {words.share(worst[1], worst[2])} of {worst[2]:,} {of} have it." if worst else f"There are no {of}.",
        columns=("Field", "Filled", "Of", "Share"),
        rows=tuple(Row(name, (f"{part:,}", f"{whole:,}", words.share(part, whole))) for name, part, whole in rows),
        bars=tuple(share_bar(*row) for row in rows),
    )  # fmt: skip


def _arrived(delays: Sequence[Cell]) -> list[tuple[str, int]]:
    rows = [(f"Within {said}" if n < 5 else said.capitalize(), sum(one.n for one in delays if one.keys[0] == name)) for n, (name, said) in enumerate(words.DELAYS.items())]  # fmt: skip
    return [row for row in rows if row[1]]


def _fed_in_time(own: Own) -> Panel:
    rows, took = _arrived(own.feed_delays), within(own.feed_delays)
    return Panel(
        key="own-feed-delays", heading="From entry to arrival",
        finding=f"Nine of ten HL7 messages about patients arrive within {took} of the entry there." if took != "–" else "No HL7 message told when it was entered.",
        columns=("Arrived", "Messages"), rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows),
    )  # fmt: skip


def _in_time(own: Own) -> Panel:
    rows = _arrived(own.delays)
    took = within(own.delays)
    return Panel(
        key="own-delays", heading="From creation to arrival",
        finding=f"Nine of ten documents arrive within {took}." if took != "–" else "No document told when it was made.",
        columns=("Arrived", "Documents"), rows=tuple(Row(name, (f"{n:,}",)) for name, n in rows), bars=bars(rows),
        note=f"About {own.surplus:,} of its {own.records:,} records are one too many: another of its records is of the same person." if own.surplus else "",
    )  # fmt: skip


def _asked_for(own: Own, names: Names) -> Panel:
    rows = tuple(
        Row(names.get(one.organization, one.organization), (f"{one.month:%B %Y}", words.PURPOSES.get(one.purpose, one.purpose), f"{one.documents:,}"))
        for one in own.asked_for
    )  # fmt: skip
    months = ", ".join(f"{one:%B %Y}" for one in own.months)
    return Panel(
        key="own-asked-for", heading="Who had its documents", columns=("Organization", "Month", "Purpose", "Documents and entries"), rows=rows,
        finding=f"Of {months}: by organization and purpose, where 11 patients and more are concerned." if own.months else "No calendar month of this period is over yet: months are told two days after their end.",
        note="Nobody is told who was refused, nor what courts and the police had.",
    )  # fmt: skip


def _may_ask(own: Own, names: Names) -> Panel:
    rows = tuple(
        Row(names.get(one.organization, one.organization), (", ".join(words.PURPOSES.get(code, code) for code in one.purposes), "In part" if one.limited else "No"))
        for one in own.may_ask
    )  # fmt: skip
    return Panel(
        key="own-may-ask", heading="Who may ask it", columns=("Organization", "Purposes of its agreement", "Limited by rules of its own"), rows=rows,
        finding=f"{len(rows):,} organizations may ask by their agreements. Each patient’s choices decide what they get.",
    )  # fmt: skip
