from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "hie.ops"
    label = "ops"

    def ready(self) -> None:
        # Binds every shared_task to the hub's Celery app, in whatever process; and registers the settings' checks.
        import hie.celery
        import hie.ops.checks  # noqa: F401
