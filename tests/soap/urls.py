"""The SOAP face and the token service, and nothing else."""

from django.urls import include, path

from hie.trust import views

urlpatterns = [path("xds/", include("hie.faces.soap.urls")), path("token", views.token)]
