"""Production starts on nothing that is a default; the sandbox keeps what it makes to itself."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hie.ops import checks
from hie.settings import environment, secrets

ROOT = Path(__file__).resolve().parents[2]
KEYS = secrets.encode_document_keys(dict([secrets.new_document_key()]))
GOOD = {
    "PRODUCTION": True,
    "SECRET_KEY": "s" * 50,
    "SECRET_KEY_GIVEN": True,
    "DOCUMENT_KEYS_GIVEN": True,
    "BASE_URL": "https://hie.example.org",
    "TRUSTED_PROXIES": ["10.0.0.1"],
    "MLLP_BIND": "127.0.0.1",
    "PATIENT_SECOND_FACTOR": "required",
}
NO_PROVIDER = {"issuer": "", "client_id": "", "client_secret": "", "name": ""}


def ids() -> set[str]:
    from django.core import checks as django_checks

    return {m.id for m in django_checks.run_checks(tags=["hie"])}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param({"SECRET_KEY_GIVEN": False}, "hie.E001", id="no-secret"),
        pytest.param({"SECRET_KEY": "short"}, "hie.E001", id="short-secret"),
        pytest.param({"DOCUMENT_KEYS_GIVEN": False}, "hie.E002", id="no-document-key"),
        pytest.param({"BASE_URL": "hie.example.org"}, "hie.E003", id="no-scheme"),
        pytest.param({"BASE_URL": "http://hie.example.org"}, "hie.E004", id="no-tls"),
        pytest.param({"MLLP_BIND": "0.0.0.0"}, "hie.E005", id="open-mllp"),
        pytest.param({"MLLP_PORT": 8000, "PORT": 8000}, "hie.E007", id="same-ports"),
        pytest.param({"REPOSITORY_UNIQUE_ID": "1.2.x"}, "hie.E008", id="no-oid"),
        pytest.param({"DOCUMENT_STORE": "s3", "S3_BUCKET": ""}, "hie.E009", id="no-bucket"),
        pytest.param({"TRUSTED_PROXIES": []}, "hie.W001", id="no-proxy"),
        pytest.param({"PATIENT_SECOND_FACTOR": "offered"}, "hie.E011", id="patients-by-password-alone"),
        pytest.param(
            {"PATIENT_OIDC": NO_PROVIDER | {"issuer": "http://id.example", "client_id": "hub"}},
            "hie.E012",
            id="provider",
        ),
    ],
)
def test_one_wrong_setting_is_one_check(settings, tmp_path, wrong, expected):
    for name, value in {**GOOD, "DATA_DIR": tmp_path}.items():
        setattr(settings, name, value)
    assert ids() == set()
    for name, value in wrong.items():
        setattr(settings, name, value)
    assert ids() == {expected}


def test_production_refuses_a_data_folder_with_a_sandbox(settings, tmp_path):
    for name, value in {**GOOD, "DATA_DIR": tmp_path}.items():
        setattr(settings, name, value)
    (tmp_path / "sandbox.json").write_text("{}")
    assert ids() == {"hie.E006"}


@pytest.mark.django_db
def test_production_refuses_a_database_marked_as_sandbox(settings):
    settings.PRODUCTION = True
    assert checks.production_database_holds_no_sandbox(databases=["default"]) == []
    checks.mark_sandbox()
    assert [m.id for m in checks.production_database_holds_no_sandbox(databases=["default"])] == ["hie.E010"]


def test_the_web_process_refuses_to_serve_on_defaults_in_production(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("HIE_")}
    env |= {"HIE_PROFILE": "production", "HIE_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", "import hie.wsgi"], env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "hie.E001" in done.stderr
    assert "hie.E004" in done.stderr


def test_sandbox_secrets_are_made_once_and_kept_private(tmp_path):
    env = {k: v for k, v in os.environ.items() if k not in {"HIE_SECRET_KEY", "HIE_DOCUMENT_KEYS", "HIE_PROFILE"}}
    env |= {"HIE_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    show = "from hie import settings as s; print(s.SECRET_KEY, sorted(s.DOCUMENT_KEYS))"
    first, second = (
        subprocess.run([sys.executable, "-c", show], env=env, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_new_document_key_comes_first_and_old_ones_stay(tmp_path):
    path = tmp_path / "keys"
    (old,) = secrets.read_document_keys(path)
    new = secrets.add_document_key(path)
    assert list(secrets.read_document_keys(path)) == [new, old]
    secrets.drop_document_keys(path, {new, old})
    assert list(secrets.read_document_keys(path)) == [new]


@pytest.mark.parametrize(
    "value",
    ["k1", "k1:c2hvcnQ=", KEYS + "," + KEYS, ":" + KEYS.split(":")[1]],
    ids=["no-key", "short", "id-twice", "no-id"],
)
def test_wrong_document_keys_are_refused(value):
    assert len(secrets.decode_document_keys(KEYS)) == 1
    with pytest.raises(Exception, match="HIE_DOCUMENT_KEYS"):
        secrets.decode_document_keys(value)


def test_a_database_url_gives_up_its_escaped_parts():
    found = environment.database("postgresql://a%40b:p%2Fw@db.example:5433/hub?sslmode=require")
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "a@b",
        "p/w",
        "db.example",
        "5433",
        "hub",
    )
    assert found["OPTIONS"] == {"sslmode": "require"}
    with pytest.raises(Exception, match="DATABASE_URL"):
        environment.database("sqlite:///x")


def test_an_exception_in_a_log_line_shows_places_and_no_values(capsys):
    from hie.settings.logs import exception_without_values

    try:
        raise ValueError("Maria Arden 1980-01-01")
    except ValueError as error:
        event = exception_without_values(None, "error", {"event": "x", "exc_info": error})
    assert event["error"] == "builtins.ValueError"
    assert event["at"]
    assert "Arden" not in repr(event)
