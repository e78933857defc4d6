"""Settings: the only place that reads the environment.

The variables are listed in `docs/reference/settings.md`; mistakes that need more than one of them are system
checks (`hie/ops/checks.py`, ids ``hie.E001`` and up).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hie.settings import environment as env
from hie.settings import secrets as kept_secrets
from hie.settings.celery import *  # noqa: F403
from hie.settings.logs import configure_logging
from hie.settings.unfold import unfold

BASE_DIR = Path(__file__).resolve().parent.parent.parent
TESTING = "pytest" in sys.modules

# --- Who this hub is -------------------------------------------------------------------------------------------------

PROFILE = env.choice("HIE_PROFILE", "sandbox", frozenset({"sandbox", "production"}))
PRODUCTION = PROFILE == "production"
DATA_DIR = env.folder("HIE_DATA_DIR", env.passing_folder() if TESTING else BASE_DIR / ".data")
PORT = env.integer("HIE_PORT", 8000, low=1, high=65535)
BIND = env.text("HIE_BIND", "127.0.0.1")
MLLP_PORT = env.integer("HIE_MLLP_PORT", 2575, low=1, high=65535)
MLLP_BIND = env.text("HIE_MLLP_BIND", BIND)
MLLP_TLS_CERTIFICATE = env.text("HIE_MLLP_TLS_CERTIFICATE")
MLLP_TLS_KEY = env.text("HIE_MLLP_TLS_KEY")
MLLP_TLS_CLIENT_CA = env.text("HIE_MLLP_TLS_CLIENT_CA")
BASE_URL = env.text("HIE_BASE_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
HOME_COMMUNITY_ID = env.oid_urn("HIE_HOME_COMMUNITY_ID", "2.999.1.1")
REPOSITORY_UNIQUE_ID = env.text("HIE_REPOSITORY_UNIQUE_ID", "2.999.1.2").removeprefix("urn:oid:")
HUB_ASSIGNING_AUTHORITY = env.text("HIE_ASSIGNING_AUTHORITY", "2.999.1.3").removeprefix("urn:oid:")
HUB_JURISDICTION = env.text("HIE_JURISDICTION", "JA")
HUB_NAME = env.text("HIE_NAME", "This exchange")
# What this hub is called at its peers; empty: its home community id.
HUB_CLIENT_ID = env.text("HIE_CLIENT_ID")
CHECKPOINT_DIR = env.folder("HIE_CHECKPOINT_DIR", DATA_DIR / "checkpoints")
TRUSTED_PROXIES = env.names("HIE_TRUSTED_PROXIES")
PEER_TOKEN_HOSTS = frozenset(one.lower() for one in env.names("HIE_PEER_TOKEN_HOSTS"))
# What a SAML assertion may call this hub in its audience besides its own addresses and home community.
SAML_AUDIENCES = frozenset(env.names("HIE_SAML_AUDIENCES"))
# Where audit messages of IHE ATNA go, HOST:PORT of a syslog receiver over TLS; empty: nowhere.
ATNA_SYSLOG = env.text("HIE_ATNA_SYSLOG")
ATNA_SYSLOG_CA = env.text("HIE_ATNA_SYSLOG_CA")
ATNA_SYSLOG_CERTIFICATE = env.text("HIE_ATNA_SYSLOG_CERTIFICATE")
ATNA_SYSLOG_KEY = env.text("HIE_ATNA_SYSLOG_KEY")
# Places, HOST or HOST:PORT, that the answer to a SOAP message may be sent to when its ReplyTo asks for it.
SOAP_REPLY_HOSTS = frozenset(one.lower() for one in env.names("HIE_SOAP_REPLY_HOSTS"))
SELF_TEST_NETWORKS = env.names("HIE_SELF_TEST_NETWORKS")
SHARED_DIR = env.folder("HIE_SHARED", BASE_DIR.parent / "shared")

# --- Secrets: the environment, else (sandbox only) values made once and kept in the data folder ----------------------

SECRETS_DIR = DATA_DIR / "secrets"
SECRET_KEY_GIVEN = bool(env.text("HIE_SECRET_KEY"))
DOCUMENT_KEYS_GIVEN = bool(env.text("HIE_DOCUMENT_KEYS"))
# Where `./hub rotate_keys` adds a key; None when the environment holds the keys and whoever set it rotates there.
DOCUMENT_KEYS_FILE = None if DOCUMENT_KEYS_GIVEN else SECRETS_DIR / "document-keys"
if SECRET_KEY_GIVEN:
    SECRET_KEY = env.text("HIE_SECRET_KEY")
elif TESTING or PRODUCTION:
    # A value nobody knows: tests keep nothing, and production is refused by check hie.E001 rather than given a default.
    SECRET_KEY = kept_secrets.new_secret()
else:
    SECRET_KEY = kept_secrets.kept(SECRETS_DIR / "secret-key", kept_secrets.new_secret)
# Keys that wrap the keys of stored documents, id -> 32 bytes, current first.
DOCUMENT_KEYS: dict[str, bytes]
if DOCUMENT_KEYS_GIVEN:
    DOCUMENT_KEYS = kept_secrets.decode_document_keys(env.text("HIE_DOCUMENT_KEYS"))
elif TESTING:
    DOCUMENT_KEYS = dict([kept_secrets.new_document_key()])
elif PRODUCTION:
    DOCUMENT_KEYS = {}
else:
    DOCUMENT_KEYS = kept_secrets.read_document_keys(SECRETS_DIR / "document-keys")

# Keys that wrap what the access log keeps encrypted, `id:base64,…`, current first; empty: a file in SECRETS_DIR.
AUDIT_KEYS = env.text("HIE_AUDIT_KEYS")
# Keys that sign tokens, shared by all web hosts; empty: SECRETS_DIR/hub-keys.
HUB_KEYS_DIR = env.text("HIE_KEYS_DIR")

# --- People ----------------------------------------------------------------------------------------------------------

# Whether patients sign in with a second factor always, or are offered one; production knows the first alone (hie.E011).
PATIENT_SECOND_FACTOR = env.choice(
    "HIE_PATIENT_SECOND_FACTOR", "required" if PRODUCTION else "offered", frozenset({"required", "offered"})
)

# The OpenID Connect provider that patients may sign in through; without an issuer there is none.
PATIENT_OIDC = {
    "issuer": env.text("HIE_OIDC_ISSUER"),
    "client_id": env.text("HIE_OIDC_CLIENT_ID"),
    "client_secret": env.text("HIE_OIDC_CLIENT_SECRET"),
    "name": env.text("HIE_OIDC_NAME"),
}
# The one that staff may; `claim` says what their account at the desk is called.
STAFF_OIDC = {
    "issuer": env.text("HIE_STAFF_OIDC_ISSUER"),
    "client_id": env.text("HIE_STAFF_OIDC_CLIENT_ID"),
    "client_secret": env.text("HIE_STAFF_OIDC_CLIENT_SECRET"),
    "name": env.text("HIE_STAFF_OIDC_NAME"),
    "claim": env.text("HIE_STAFF_OIDC_CLAIM", "preferred_username"),
}
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "hie.faces.backoffice.oidc.StaffBackend"]

# --- Mail to patients: notices that hold nothing of health. Without a server a sandbox keeps them as files, others send none.

EMAIL_HOST = env.text("HIE_EMAIL_HOST")
EMAIL_PORT = env.integer("HIE_EMAIL_PORT", 587, low=1, high=65535)
EMAIL_HOST_USER = env.text("HIE_EMAIL_USER")
EMAIL_HOST_PASSWORD = env.text("HIE_EMAIL_PASSWORD")
_email_security = env.choice("HIE_EMAIL_SECURITY", "starttls", frozenset({"starttls", "tls", "none"}))
EMAIL_USE_TLS = _email_security == "starttls"
EMAIL_USE_SSL = _email_security == "tls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("HIE_EMAIL_FROM", f"notices@{urlsplit(BASE_URL).hostname or 'localhost'}")
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
EMAIL_BACKEND = "django.core.mail.backends." + (
    "smtp.EmailBackend" if EMAIL_HOST else "dummy.EmailBackend" if PRODUCTION else "filebased.EmailBackend"
)

# --- Limits ----------------------------------------------------------------------------------------------------------

ACCESS_TOKEN_LIFETIME_S = env.integer("HIE_ACCESS_TOKEN_LIFETIME_S", 300, low=30, high=300)
PARTICIPANT_LIMITS = {
    "rate_per_s": env.integer("HIE_RATE_PER_S", 500, low=1),
    "burst": env.integer("HIE_BURST", 1000, low=1),
    "concurrency": env.integer("HIE_CONCURRENCY", 64, low=1),
}
GUESSING_PER_MINUTE = env.integer("HIE_GUESSING_PER_MINUTE", 60, low=1)
REFUSED_TOKENS_PER_MINUTE = env.integer("HIE_REFUSED_TOKENS_PER_MINUTE", 120, low=1)

# --- Services --------------------------------------------------------------------------------------------------------

DATABASE_URL_GIVEN = bool(env.text("DATABASE_URL"))
REDIS_URL_GIVEN = bool(env.text("REDIS_URL"))
_services = kept_secrets.service_urls(DATA_DIR / "services.json")
DATABASE_URL = env.text("DATABASE_URL", _services.get("database_url", "postgresql://hie@127.0.0.1:5432/hie"))
REDIS_URL = env.text("REDIS_URL", _services.get("redis_url", "redis://127.0.0.1:6379/0"))
DATABASES: dict[str, Any] = {"default": {**env.database(DATABASE_URL), "ATOMIC_REQUESTS": False, "CONN_MAX_AGE": 0}}
# Connections a process may hold; 0 opens one a request. Tests hold one, inside their transaction.
DATABASE_POOL = 0 if TESTING else env.integer("HIE_DATABASE_POOL", 16, high=1000)
DATABASES["default"]["OPTIONS"].setdefault("application_name", f"hie-{env.text('HIE_ROLE', 'command')}")
DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", "10")
# What `hie.database` keeps prepared is planned once, whatever it is asked; all else is planned at each use, as ever.
DATABASES["default"]["OPTIONS"].setdefault("prepare_threshold", 5)
DATABASES["default"]["OPTIONS"]["options"] = " ".join(
    [DATABASES["default"]["OPTIONS"].get("options", ""), "-c plan_cache_mode=force_generic_plan"]
).strip()
if DATABASE_POOL:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 0,
        "max_size": DATABASE_POOL,
        "timeout": 10,
        "num_workers": 2,
    }
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "hie",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}
CELERY_BROKER_URL = REDIS_URL

# Of one web host; each worker process is forked from a loaded one, each thread holds one request.
WEB_WORKERS = env.integer("HIE_WEB_WORKERS", 2, low=1, high=64)
WEB_THREADS = env.integer("HIE_WEB_THREADS", 24, low=1, high=512)
# Each worker is one process with one event loop for questions to others; two share a burst of them.
WORKERS = env.integer("HIE_WORKERS", 2, low=1, high=64)
WORKER_THREADS = env.integer("HIE_WORKER_THREADS", 8, low=1, high=256)

# Bytes of documents: a folder, or any S3-compatible store.
DOCUMENT_STORE = env.choice("HIE_DOCUMENT_STORE", "folder", frozenset({"folder", "s3"}))
DOCUMENT_DIR = env.folder("HIE_DOCUMENT_DIR", DATA_DIR / "documents")
# Of one document and of one SOAP envelope; how long staged bytes wait for their entry; what another id inside a C-CDA means.
DOCUMENT_MAX_SIZE = env.integer("HIE_DOCUMENT_MAX_SIZE", 4 * 1024**3, low=1, high=2**50)
SOAP_MAX_ENVELOPE_BYTES = env.integer("HIE_SOAP_MAX_ENVELOPE_BYTES", 64 * 1024**2, low=1024, high=2**31)
DOCUMENT_GRACE_S = env.integer("HIE_DOCUMENT_GRACE_S", 86_400, low=60)
# Refuse a restricted update [ITI-92] that restates hash, size, type, time of creation or URI of a document.
RESTRICTED_UPDATES_KEEP_CONTENT = env.flag("HIE_RESTRICTED_UPDATES_KEEP_CONTENT", False)
XDS_MAX_RESULTS = env.integer("HIE_XDS_MAX_RESULTS", 10_000, low=1, high=10**6)
UNIQUE_ID_CHECK = env.choice("HIE_UNIQUE_ID_CHECK", "refuse", frozenset({"refuse", "doubt", "off"}))
S3_BUCKET = env.text("HIE_S3_BUCKET")
S3_PREFIX = env.text("HIE_S3_PREFIX")
S3_ENDPOINT_URL = env.text("HIE_S3_ENDPOINT_URL")
S3_REGION = env.text("HIE_S3_REGION", "us-east-1")
S3_ACCESS_KEY_ID = env.text("HIE_S3_ACCESS_KEY_ID")
S3_SECRET_ACCESS_KEY = env.text("HIE_S3_SECRET_ACCESS_KEY")

# --- Django ----------------------------------------------------------------------------------------------------------

DEBUG = False
ALLOWED_HOSTS = sorted(
    {urlsplit(BASE_URL).hostname or "localhost", "127.0.0.1", "localhost", "[::1]", *env.names("HIE_ALLOWED_HOSTS")}
)
ROOT_URLCONF = "hie.urls"
WSGI_APPLICATION = "hie.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español"), ("ar", "العربية")]
# Times in one form wherever a page does not say otherwise: UTC, with its letter.
FORMAT_MODULE_PATH = ["hie.settings.formats"]
LOCALE_PATHS = [BASE_DIR / "hie" / "locale"]
# Bodies are capped by each face, which knows what its format may weigh; forms stay small.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
APPEND_SLASH = False

INSTALLED_APPS = [
    # Without unfold's own site: the desk is one, and Django finds it by its app's configuration.
    "unfold.apps.BasicAppConfig",
    "hie.faces.backoffice.apps.DeskAdminConfig",
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
    "hie.faces.soap",
    "hie.faces.rest",
    "hie.faces.portal",
    "hie.faces.backoffice",
    "hie.ops",
]
MIDDLEWARE = [
    "hie.ops.middleware.Measured",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "hie.faces.pages.Sessions",
    "hie.faces.pages.Languages",
    "django.middleware.common.CommonMiddleware",
    "hie.faces.pages.Forms",
    "hie.faces.pages.SignIn",
    "hie.faces.pages.SecondFactor",
    "hie.faces.pages.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hie.faces.long_answers.LongAnswers",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Repairs of unfold's own templates; everything else is found beside its app.
        "DIRS": [BASE_DIR / "hie" / "faces" / "backoffice" / "overrides"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
# None: nothing is collected; see below.
STATIC_ROOT = None
# Static files come straight from the installed packages: nothing to collect before the first start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 3600

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher" if TESTING else "django.contrib.auth.hashers.Argon2PasswordHasher"
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# --- What a browser may do -------------------------------------------------------------------------------------------

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [BASE_URL] if "://" in BASE_URL else []
_https = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION and _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Plain HTTP never reaches a production hub but through its proxy; a stray one is sent to the public name.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None

# --- The administrators' pages -----------------------------------------------------------------------------------------

UNFOLD = unfold(HUB_NAME)

# --- APIs ------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["hie.faces.rest.parsers.BoundedJsonParser"],
    # Every face names its own: a view that forgets is closed, not open.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["hie.ops.permissions.Closed"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "hie.faces.rest.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "COERCE_DECIMAL_TO_STRING": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Health information exchange: what no standard covers",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Logs ------------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.choice("HIE_LOG_LEVEL", "INFO", frozenset({"DEBUG", "INFO", "WARNING", "ERROR"}))
LOGGING_CONFIG = None
configure_logging(level="WARNING" if TESTING else LOG_LEVEL, role=env.text("HIE_ROLE", "command"))
