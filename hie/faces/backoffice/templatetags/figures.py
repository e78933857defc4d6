"""What the templates of dashboards ask of a panel."""

from __future__ import annotations

from django import template

from hie.faces.backoffice.charts import Panel, Row

register = template.Library()


@register.filter
def cells_of(panel: Panel, row: Row) -> list[tuple[str, str]]:
    """The cells of a row with the heads of their columns."""
    return list(zip(panel.columns[1:], row.cells, strict=True))
