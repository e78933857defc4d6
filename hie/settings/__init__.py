"""Settings: the only place that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlparse

BASE_DIR = Path(__file__).resolve().parent.parent.parent
PROFILE = os.environ.get("HIE_PROFILE", "sandbox")
DATA_DIR = Path(os.environ.get("HIE_DATA_DIR", BASE_DIR / ".data"))
PORT = int(os.environ.get("HIE_PORT", "8000"))
MLLP_PORT = int(os.environ.get("HIE_MLLP_PORT", "2575"))
BASE_URL = os.environ.get("HIE_BASE_URL", f"http://127.0.0.1:{PORT}")
HOME_COMMUNITY_ID = os.environ.get("HIE_HOME_COMMUNITY_ID", "urn:oid:2.999.1.1")
REPOSITORY_UNIQUE_ID = os.environ.get("HIE_REPOSITORY_UNIQUE_ID", "2.999.1.2")
HUB_ASSIGNING_AUTHORITY = os.environ.get("HIE_ASSIGNING_AUTHORITY", "2.999.1.3")
HUB_JURISDICTION = os.environ.get("HIE_JURISDICTION", "JA")
CHECKPOINT_DIR = Path(os.environ.get("HIE_CHECKPOINT_DIR", DATA_DIR / "checkpoints"))
SECRET_KEY = os.environ.get("HIE_SECRET_KEY", "sandbox-only-not-a-secret")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6390/0")
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "hie.urls"
WSGI_APPLICATION = "hie.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_celery_beat",
    "rest_framework",
    "drf_spectacular",
    "hie.directory",
    "hie.trust",
    "hie.audit",
    "hie.outbox",
    "hie.terminology",
    "patients",
    "documents",
    "consent",
    "hie.exchange",
    "hie.faces.fhir",
    "hie.faces.hl7v2",
    "hie.faces.rest",
    "hie.faces.portal",
    "hie.faces.backoffice",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
_db = urlparse(os.environ.get("DATABASE_URL", "postgresql://hie@127.0.0.1:5544/hie"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _db.path.lstrip("/"),
        "USER": unquote(_db.username or ""),
        "PASSWORD": unquote(_db.password or ""),
        "HOST": _db.hostname or "",
        "PORT": _db.port or "",
        "ATOMIC_REQUESTS": False,
    }
}
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
