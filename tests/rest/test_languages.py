"""What a machine is told does not depend on which page its thread answered before."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import translation

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/api/queries", "/fhir/Patient", "/consent/xacml"])
def test_a_page_in_another_language_leaves_nothing_behind_for_the_next_request(path: str) -> None:
    def answer() -> Any:
        response = Client().patch(path, data="{}", content_type="application/json", headers={"Accept-Language": "es"})
        return response.status_code, response.content.replace(response.headers["X-Request-Id"].encode(), b"")

    before = answer()
    try:
        translation.activate("es")
        assert answer() == before
        assert translation.get_language() == "en"
    finally:
        translation.deactivate()
