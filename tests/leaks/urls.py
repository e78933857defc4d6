"""The whole hub, and the token service where the helpers of `tests/trust` look for it."""

from django.urls import include, path

from hie.trust import views

urlpatterns = [path("", include("hie.urls")), path("token", views.token)]
