from django.apps import AppConfig


class ExchangeConfig(AppConfig):
    name = "hie.exchange"
    label = "exchange"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let documents of other communities be read like our own."""
        from hie.exchange import remote_retrieve, retrieve

        retrieve.register_source(remote_retrieve.source)
