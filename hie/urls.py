"""Every door of the hub; with `hie/celery.py` the only place that knows every face."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
