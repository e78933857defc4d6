"""Versions of the code sets: what a set held and how strict it was, each time it changed, and by whose hand.

A version is written in the transaction of the change and never altered: what was enforced on the day a submission was
refused can be read afterwards.

Source: issue 6, item 4; spec/xds.md 11.
"""

from __future__ import annotations

from django.db.models import Max

from hie.terminology.models import CodeSet, CodeSetVersion


def keep(code_set: CodeSet, *, by: str) -> CodeSetVersion | None:
    """Write the next version of a set as it is now; None: it is as its last version says, and nothing is written.

    Three statements. The row of the set is locked: of two changes at once the second has the later number.
    """
    held = CodeSet.objects.select_for_update().get(pk=code_set.pk)
    codes = [list(row) for row in held.codes.filter(active=True).values_list("code", "scheme", "display")]
    last = held.versions.order_by("-number").first()
    if last is not None and (last.mode, last.source, last.codes) == (held.mode, held.source, codes):
        return None
    number = (held.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    return CodeSetVersion.objects.create(
        code_set=held, number=number, mode=held.mode, source=held.source, made_by=by, codes=codes
    )
