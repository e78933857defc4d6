"""Three organizations and how they feed: a hospital and a clinic that share, and a quiet house that does not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from consent import jurisdictions
from hie.directory import registration
from hie.exchange import feed
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from hie.standards.facts import Caller
from tests.directory.forms import EC_P384, clinic, hospital, jwk
from tests.grounds import ground

CLINIC, HOSPITAL, QUIET = "2.999.10.1.1", "2.999.10.2.1", "2.999.10.3.1"
_OWNER = {CLINIC: "org-clinic", HOSPITAL: "org-hospital", QUIET: "org-quiet"}


def _jurisdiction(model: str) -> dict[str, Any]:
    default = {"model": model}
    if model == "opt-out":
        default |= {"purposes": ["TREAT", "HPAYMT", "HOPERAT"], "ceiling": "R", "excludeLabels": []}  # type: ignore[dict-item]
    return {
        "timezone": "UTC",
        "majorityAge": 18,
        "confidentialAge": 14,
        "confidentialLabels": [],
        "breakGlassRefusal": True,
        "default": default,
        "consentRequired": [],
        "prohibitions": [],
        "mandates": [],
    }


@ground
def houses() -> None:
    """The three are in the directory, where `world` puts them."""
    world()


def world() -> None:
    """Clinic and hospital where sharing is the rule; the quiet house where it needs consent."""
    jurisdictions.load({"JA": _jurisdiction("opt-out"), "JB": _jurisdiction("opt-in")})
    quiet = hospital(
        id="org-quiet",
        name="The Quiet House",
        organization_oid="2.999.10.3",
        assigning_authority=QUIET,
        jurisdiction="JB",
        hl7v2=None,
        jwks={"keys": [jwk(EC_P384, "quiet-1")]},
    )
    registration.apply({"participants": [clinic(jurisdiction="JA"), hospital(jurisdiction="JA"), quiet]})


def caller(authority: str = CLINIC, **changes: Any) -> Caller:
    """A physician, for treatment, at the organization that issues identifiers under `authority`."""
    owner = _OWNER[authority]
    values: dict[str, Any] = {
        "participant_id": owner,
        "organization_id": owner,
        "client_id": owner,
        "user_id": f"Practitioner/{owner}",
        "role": "physician",
        "purpose": "TREAT",
        "scopes": frozenset({"system/*.cruds"}),
    }
    return Caller(**values | changes)


def nora(**changes: Any) -> Demographics:
    """Nora Quimby, with everything that identifies her."""
    values: dict[str, Any] = {
        "names": (HumanName(family="Quimby", given=("Nora",)),),
        "birth_date": "1970-02-03",
        "gender": "female",
        "addresses": (Address(lines=("5 Elm Street",), city="Ames", state="IA", postal_code="50010"),),
        "telecoms": (Telecom(value="515-555-0101"),),
    }
    return Demographics(**values | changes)


def ivo(**changes: Any) -> Demographics:
    """Ivo Zander, who has nothing in common with Nora."""
    return Demographics(
        **{
            "names": (HumanName(family="Zander", given=("Ivo",)),),
            "birth_date": "1921-01-09",
            "gender": "male",
            "addresses": (Address(lines=("1 Oak Road",), city="Troy", postal_code="12180"),),
        }
        | changes
    )


def zander(number: int) -> Demographics:
    """One of several people named Zander who have nothing else in common."""
    given = ("Ada", "Bruno", "Carlota", "Demetrius", "Eleanor", "Fyodor", "Gwendolyn", "Hiroshi")[number]
    return Demographics(
        names=(HumanName(family="Zander", given=(given,)),),
        birth_date=f"19{number}1-0{number + 1}-1{number}",
        gender=("male", "female")[number % 2],
        addresses=(
            Address(lines=(f"{number + 3} {given} Lane",), city=f"{given}ville", postal_code=f"{number}1{number}07"),
        ),
    )


def fed(authority: str, value: str, demographics: Demographics, **changes: Any) -> UUID:
    """Feed a record as its owner; the person's id."""
    done = feed.feed(
        feed.Revision(authority=authority, value=value, demographics=demographics, **changes), caller(authority)
    )
    assert done.result is not None
    return done.result.person_id


def identifier(authority: str, value: str) -> Identifier:
    """An identifier as FHIR writes it."""
    return Identifier(system=f"urn:oid:{authority}", value=value)
