"""The consent app."""

from django.apps import AppConfig


class ConsentConfig(AppConfig):
    """Tells the directory in which zone a jurisdiction's dates are read."""

    name = "consent"
    label = "consent"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the one thing the directory asks of consent."""
        from consent import jurisdictions
        from hie.directory import queries as directory

        directory.read_zones_from(jurisdictions.zone_of)
