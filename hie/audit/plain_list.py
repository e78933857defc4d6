"""Lists of the log at the desk in its own frame: a search, filters and a table, made for ten million rows.

unfold's list spends some hundred milliseconds on fifty rows, most of it on sorting links of every column and on a link for
every value of every filter. Here a filter is a select of a form, nothing is sorted but by time, and what is found, counted
and allowed is still what Django's own list of the same page says (`ModelAdmin.get_changelist_instance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from hie.audit import desk

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A filter as a select; `options` are its values, made once for as long as the same is chosen."""

    name: str
    label: str
    options: SafeString
    chosen: str


class PlainList(_Base):
    """For a ModelAdmin of the log, behind `AuditedAdmin`: `columns` are the heads (plain words) and what stands below them."""

    columns: ClassVar[Sequence[tuple[str, Callable[[Any], str]]]] = ()
    sortable_by = ()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The rows that the search and the filters leave, newest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(request.path)
        site: Any = self.admin_site
        last, selects = found.paginator.num_pages, list(_selects(found.filter_specs))
        context = {
            **site.frame_context(request),
            "opts": self.opts,
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "cl": found,
            "search": {"name": SEARCH_VAR, "value": found.query, "help": self.search_help_text},
            "selects": selects,
            "heads": [head for head, _ in self.columns],
            "rows": list(self._rows(found.result_list)),
            "count": _count(found.result_count),
            "narrowed": bool(found.query) or any(one.chosen for one in selects),
            "newer": found.get_query_string({PAGE_VAR: found.page_num - 1}) if found.page_num > 1 else "",
            "older": found.get_query_string({PAGE_VAR: found.page_num + 1}) if found.page_num < last else "",
        }
        return TemplateResponse(request, "audit/list.html", context)

    def _rows(self, rows: Iterable[Any]) -> Iterator[SafeString]:
        # One address is worked out, and the others made from it: each would cost as much as the row.
        pattern = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        before, _, after = reverse(pattern, args=["ID"]).rpartition("ID")
        (_, name), *rest = self.columns
        cells = "".join(f'<td role="cell" data-label="{head}"><bdi>{{}}</bdi></td>' for head, _ in rest)
        form = f'<tr role="row"><th role="rowheader" scope="row"><a href="{{}}">{{}}</a></th>{cells}</tr>'
        for row in rows:
            yield format_html(form, f"{before}{row.pk}{after}", name(row), *(cell(row) for _, cell in rest))


_options: dict[tuple[type, str], SafeString] = {}


def _selects(specs: Iterable[Any]) -> Iterator[Select]:
    for spec in specs:
        chosen = str(spec.value() or "")
        key = (type(spec), chosen)
        if key not in _options:
            if len(_options) > 1000:
                _options.clear()
            _options[key] = _options_of(spec.lookup_choices, chosen)
        yield Select(name=spec.parameter_name, label=str(spec.title), options=_options[key], chosen=chosen)


def _options_of(choices: Iterable[tuple[Any, Any]], chosen: str) -> SafeString:
    made = [format_html('<option value="">{}</option>', "All")]
    for value, words in choices:
        mark = mark_safe(" selected") if str(value) == chosen else ""
        made.append(format_html('<option value="{}"{}>{}</option>', value, mark, words))
    return mark_safe("".join(made))  # noqa: S308  every part was escaped


def _count(found: int) -> str:
    return f"{found:,}" if found < desk.COUNTED else f"more than {desk.COUNTED:,}"
