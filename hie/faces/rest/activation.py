"""`/api/patients/activation-codes`: an organization lets its patient into the portal."""

from __future__ import annotations

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import activation
from hie.exchange.query_answers import instant
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import ActivationInput, ActivationOutput
from hie.standards.demographics import Identifier
from hie.trust import addresses, limits


class Codes(CallerView):
    """Codes for accounts of the portal."""

    @extend_schema(request=ActivationInput, responses={201: ActivationOutput, **ERRORS})
    def post(self, request: Request) -> Response:
        """A code for a patient of one's own, for a letter; scope `hie:activation`.

        It works once, for 14 days, with the patient's date of birth beside it; a new one for the same identifier ends the
        one before. It opens an account, or lets its owner into hers again.
        """
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            serializer = ActivationInput(data=request.data)
            serializer.is_valid(raise_exception=True)
            named = Identifier(**serializer.validated_data["identifier"])
            given = activation.issue(named, caller=caller, raw=raw)
        url = f"{addresses.base_url()}{reverse('portal:first-visit')}"
        return Response({"code": given.code, "expires_at": instant(given.ends_at), "url": url}, status=201)
