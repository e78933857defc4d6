"""`./hub init --profile production`: keys, a settings file without any default secret, the first administrator."""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from urllib.parse import urlsplit

from hie.ops.context import ROOT, child_environment
from hie.ops.supervisor import say
from hie.settings.secrets import encode_document_keys, new_document_key, new_secret, private_folder, write_private

OID = re.compile(r"^(urn:oid:)?[0-2](\.(0|[1-9][0-9]*))+$")


class Refused(Exception):
    """An answer is missing or wrong; one sentence."""


def main(arguments: list[str]) -> int:
    """Write the settings file and make the administrator; exit 1 with one line when something is missing."""
    parser = ArgumentParser(prog="./hub init", description="Prepare a hub for production.")
    parser.add_argument("--profile", choices=["production"], required=True)
    parser.add_argument("--base-url", help="the public https address")
    parser.add_argument("--home-community-id", help="OID of this community")
    parser.add_argument("--repository-unique-id", help="OID of the document repository")
    parser.add_argument("--assigning-authority", help="OID of the hub's own patient identifiers")
    parser.add_argument("--data-dir", default="/var/lib/hie", help="where keys and, by default, documents lie")
    parser.add_argument("--database-url", help="postgresql://…; left out: the hub's own embedded PostgreSQL")
    parser.add_argument("--redis-url", help="redis://…; left out: the hub's own embedded Valkey")
    parser.add_argument("--trusted-proxies", default="", help="addresses of the TLS proxies, separated by commas")
    parser.add_argument("--administrator", default="admin", help="name of the first administrator")
    parser.add_argument("--settings-file", help="default: DATA_DIR/hie.env")
    options = parser.parse_args(arguments)
    try:
        answers = complete(options)
        path = Path(options.settings_file) if options.settings_file else Path(options.data_dir) / "hie.env"
        if path.exists():
            raise Refused(f"{path} is there already; its keys open stored documents, so it is not written over")
        private_folder(Path(options.data_dir).absolute())
        values = settings_file(options, answers)
        write_private(path.absolute(), "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items()))
    except (Refused, OSError) as error:
        print(f"hub: {error}", file=sys.stderr)
        return 1
    say(f"wrote {path} (only its owner may read it); keep a copy of it apart from the database's backups")
    status = administrator(options.administrator, values)
    say("start it with:  set -a; . " + shlex.quote(str(path)) + "; set +a; ./hub up")
    return status


def complete(options: Namespace) -> dict[str, str]:
    """Every value that must be given, asked for at a terminal, refused when wrong.

    Raises:
        Refused: a value is missing where nobody can be asked, or is not what it must be.
    """
    questions = {
        "base_url": "public https address of the hub: ",
        "home_community_id": "OID of this community: ",
        "repository_unique_id": "OID of its document repository: ",
        "assigning_authority": "OID of its own patient identifiers: ",
    }
    answers = {}
    for name, question in questions.items():
        value = getattr(options, name) or (input(question) if sys.stdin.isatty() else "")
        if not value.strip():
            raise Refused(f"--{name.replace('_', '-')} is needed")
        answers[name] = value.strip()
    if urlsplit(answers["base_url"]).scheme != "https" or not urlsplit(answers["base_url"]).hostname:
        raise Refused("--base-url must begin with https:// (a TLS proxy stands in front of the hub)")
    for name in ("home_community_id", "repository_unique_id", "assigning_authority"):
        if not OID.match(answers[name]):
            raise Refused(f"--{name.replace('_', '-')} must be an OID, digits and dots")
    return answers


def settings_file(options: Namespace, answers: dict[str, str]) -> dict[str, str]:
    """The variables of a production hub; every secret made here, none a default."""
    values = {
        "HIE_PROFILE": "production",
        "HIE_DATA_DIR": str(Path(options.data_dir).absolute()),
        "HIE_BASE_URL": answers["base_url"],
        "HIE_HOME_COMMUNITY_ID": answers["home_community_id"],
        "HIE_REPOSITORY_UNIQUE_ID": answers["repository_unique_id"],
        "HIE_ASSIGNING_AUTHORITY": answers["assigning_authority"],
        "HIE_TRUSTED_PROXIES": options.trusted_proxies,
        "HIE_SECRET_KEY": new_secret(),
        "HIE_DOCUMENT_KEYS": encode_document_keys(dict([new_document_key()])),
        "HIE_AUDIT_KEYS": encode_document_keys(dict([new_document_key()])),
    }
    if options.database_url:
        values["DATABASE_URL"] = options.database_url
    if options.redis_url:
        values["REDIS_URL"] = options.redis_url
    return values


def administrator(name: str, values: dict[str, str]) -> int:
    """Make the first administrator in the hub's database, with a second factor.

    The password is asked for, or made and printed once; so is the secret for the authenticator app.
    """
    password = getpass.getpass(f"password of {name} (empty: one is made): ") if sys.stdin.isatty() else ""
    made = not password
    password = password or secrets.token_urlsafe(15)
    env = {**os.environ, **child_environment(values)}
    totp_secret = base64.b32encode(secrets.token_bytes(20)).decode()
    staff = [{"username": name, "password": password, "totp_secret": totp_secret, "roles": ["administrator"]}]
    with tempfile.TemporaryDirectory() as folder:
        # By file, since a program's arguments can be read by everybody on the machine.
        path = Path(folder) / "accounts.json"
        write_private(path, json.dumps({"staff": staff}))
        # A database of one's own may still be empty.
        for command in (["prepare"], ["accounts", str(path)]):
            argv = [sys.executable, "-m", "hie.ops.door", *command]
            done = subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=False)
            if done.returncode != 0:
                break
    if done.returncode != 0:
        say("the administrator was not made; once the database answers: ./hub accounts FILE.json")
        return 1
    say(f"administrator {name}" + (f", password {password} (shown once)" if made else ""))
    say(f"second factor: enter {totp_secret} in an authenticator app (shown once)")
    return 0
