"""What a view that names no permission gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission

# Read while rest_framework.views itself is being imported.
if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Closed(BasePermission):
    """Nobody: a view that forgets to say who may use it is closed, not open."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return False
