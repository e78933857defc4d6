from django.apps import AppConfig


class TerminologyConfig(AppConfig):
    name = "hie.terminology"
    label = "terminology"
    default_auto_field = "django.db.models.BigAutoField"
