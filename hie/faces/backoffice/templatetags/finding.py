"""Ways from what the one search found to its pages. No rule, no query."""

from __future__ import annotations

from django import template
from django.urls import reverse

from hie.exchange.desk_search import Hit

register = template.Library()


@register.filter
def hit_url(hit: Hit) -> str:
    """The page of what was found."""
    app, _, name = hit.model.partition(".")
    return reverse(f"admin:{app}_{name}_change", args=[hit.key])
