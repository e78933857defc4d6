"""The WSGI entry point that Granian serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")
application = get_wsgi_application()

# Granian runs no management command, hence no system check: ask here, so that production never serves on a default.
from hie.ops.checks import refuse_to_start_on_errors  # noqa: E402

refuse_to_start_on_errors()
