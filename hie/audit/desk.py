"""Searching a log of ten million rows at the desk: exact words, each by its own index, and no count that reads them all.

Django's exact search (``=field``) compares upper case, which no index serves, and joins all fields by OR, which none can
order. Here the columns that hold the word at all are found first, one probe of an index each; usually that is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, reduce
from operator import or_
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

COUNTED = 10_000


class Bounded(Paginator):  # type: ignore[type-arg]  # generic only in the stubs
    """Pages of the first 10,000 rows; what lies behind is reached by a period or another filter."""

    @cached_property
    def count(self) -> int:
        """How many rows, counted no further than `COUNTED`."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # a list of the desk is a query
        return rows.order_by().values_list("pk", flat=True)[:COUNTED].count()


class ExactSearch:
    """For a ModelAdmin of the log: `searched` are the columns that a word is looked for in, those of UUIDs apart."""

    searched: ClassVar[Sequence[str]] = ()
    searched_ids: ClassVar[Sequence[str]] = ()
    paginator = Bounded
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that hold the whole word in one of the columns, exactly as written."""
        word = search_term.strip()
        if not word:
            return queryset, False
        columns: list[tuple[str, Any]] = [(name, word) for name in self.searched]
        with suppress(ValueError):
            columns += [(name, UUID(word)) for name in self.searched_ids]
        model: type[Model] = queryset.model
        holding = [
            Q(**{name: value}) for name, value in columns if model._default_manager.filter(**{name: value}).exists()
        ]
        return (queryset.filter(reduce(or_, holding)) if holding else queryset.none()), False


class PeriodFilter(admin.SimpleListFilter):
    """A time, which also tells the database which months to look into."""

    title = "time"
    parameter_name = "period"
    DAYS: ClassVar[Mapping[str, int]] = {"1": 1, "7": 7, "30": 30, "365": 365}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "last day"), ("7", "last 7 days"), ("30", "last 30 days"), ("365", "last 12 months")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = self.DAYS.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - timedelta(days=days)) if days else queryset
