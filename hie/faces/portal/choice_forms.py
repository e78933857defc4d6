"""What the pages of choices send: a form as `Choices`, a way back, an action that was shown and is confirmed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from consent import choices as rules
from consent.choices import PURPOSES, Answer, Apart, Choices, ChoicesRefused, Rule
from hie.exchange.choices import Action, Overview
from hie.exchange.errors import BadRequest, NotFound

_LONGEST = 20_000


def read(request: HttpRequest, found: Overview) -> Choices:
    """The form as choices.

    Raises:
        BadRequest: a field holds what no form of ours sends.
    """
    post = request.POST
    apart = tuple(
        Apart(kind=kind, labels=labels, places=_many(request, f"apart-{kind}-place"))
        for kind, labels in found.kinds.items()
        if post.get(f"apart-{kind}") == "apart"
    )
    if found.minor:
        return Choices(apart=tuple(replace(one, places=()) for one in apart), minor=True)
    try:
        answers = {card: Answer(post.get(card, "general")) for card in PURPOSES}
    except ValueError as error:
        raise BadRequest("the form was not understood", element="choices") from error
    kept: list[Rule] = []
    for n in range(rules.MAX_RULES + 1):
        how = post.get(f"rule-{n}-show", "")
        if how not in ("show", "hide") or f"rule-{n}-remove" in post:
            continue
        if f"rule-{n}-who" not in post:
            raise BadRequest("the form was not understood", element=f"rules[{n}].who")
        texts = {name: post.get(f"rule-{n}-{name}", "").strip()[:200] for name in Rule.__slots__ if name != "show"}
        kept.append(Rule(show=how == "show", **texts))
    return Choices(
        treat=answers["treat"],
        # Ticks under another answer are left over from before; they would say nothing.
        places=_many(request, "place") if answers["treat"] is Answer.NAMED else (),
        pay=answers["pay"],
        run=answers["run"],
        research=answers["research"],
        refuse_emergency=post.get("emergency") == "no",
        apart=apart,
        rules=tuple(kept),
    )


def _many(request: HttpRequest, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one[:200] for one in request.POST.getlist(name)))


def way_back(request: HttpRequest) -> Action:
    """What a button to undo, restore or end asks for.

    Raises:
        NotFound: what it names is no choice.
    """
    consent_id = _uuid(request.POST.get("end", "") or request.POST.get("consent", ""))
    if "end" in request.POST:
        if consent_id is None:
            raise NotFound("no such choice")
        return Action(consent_id=consent_id, end=True)
    number = request.POST.get("restore", "")
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise NotFound("no such choice")
    return Action(restore=int(number), consent_id=consent_id)


def packed(action: Action) -> dict[str, Any]:
    """An action as `action_of` reads it back."""
    return {
        "choices": rules.to_json(action.choices) if action.choices is not None else None,
        "restore": action.restore,
        "consent": str(action.consent_id) if action.consent_id else None,
        "end": action.end,
    }


def action_of(text: str) -> Action:
    """The action that the page of confirmation was about.

    Raises:
        BadRequest: the field holds no such thing.
    """
    try:
        held = json.loads(text[:_LONGEST])
        choices, restore, consent, end = (held[name] for name in ("choices", "restore", "consent", "end"))
        chosen = rules.from_json(choices) if choices is not None else None
    except (ValueError, KeyError, TypeError, RecursionError, ChoicesRefused) as error:
        raise BadRequest("the form was not understood", element="action") from error
    consent_id = _uuid(consent) if isinstance(consent, str) else None
    whole = restore is None or (isinstance(restore, int) and not isinstance(restore, bool))
    if not whole or not isinstance(end, bool) or (consent is not None and consent_id is None):
        raise BadRequest("the form was not understood", element="action")
    if chosen is None and restore is None and not end:
        raise BadRequest("the form was not understood", element="action")
    return Action(choices=chosen, restore=restore, consent_id=consent_id, end=end)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def anchor(field: str) -> str:
    """The id on the page of the field that a fault is about."""
    if field.startswith("rules["):
        return f"rule-{field[6:].partition(']')[0]}"
    return {"places": "treat", "rules": "finer", "apart": "kinds", "choices": "main"}.get(field, field)
