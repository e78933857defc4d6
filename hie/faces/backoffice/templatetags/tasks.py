"""What the pages of tasks need of their values."""

from __future__ import annotations

from collections.abc import Mapping

from django import template

from hie.exchange.desk_values import Field

register = template.Library()


@register.filter
def value_of(typed: Mapping[str, str], field: Field) -> str:
    """What stands in a field: what was typed, else its own value."""
    return typed.get(field.name, field.value)
