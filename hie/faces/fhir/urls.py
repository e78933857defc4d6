"""Mounted at ``/fhir``."""

from django.urls import path

from hie.faces.fhir.http import dispatch

urlpatterns = [
    path("", dispatch, name="fhir-base"),
    path("/", dispatch, name="fhir-base-slash"),
    path("/<path:path>", dispatch, name="fhir"),
]
