"""Codes a registration may use: the hub's own tables.

Source: spec/consent.md 2; sandbox format of design.md for participant types.
"""

from __future__ import annotations

import re

PURPOSES = frozenset(
    [
        "TREAT",
        "COC",
        "POPHLTH",
        "ETREAT",
        "ERTREAT",
        "BTG",
        "HPAYMT",
        "CLMATTCH",
        "COVAUTH",
        "COVERAGE",
        "ELIGDTRM",
        "ELIGVER",
        "ENROLLM",
        "REMITADV",
        "HOPERAT",
        "CAREMGT",
        "DONAT",
        "FRAUD",
        "HACCRED",
        "HCOMPL",
        "HDECD",
        "HDIRECT",
        "HOUTCOMS",
        "HQUALIMP",
        "PATADMIN",
        "PATSFTY",
        "PERFMSR",
        "RECORDMGT",
        "HSYSADMIN",
        "TRAIN",
        "HRESCH",
        "CLINTRCH",
        "BIORCH",
        "DSRCH",
        "POARCH",
        "TRANSRCH",
        "PUBHLTH",
        "DISASTER",
        "THREAT",
        "PATRQT",
        "FAMRQT",
        "PWATRNY",
        "SUPNWK",
        "HLEGAL",
        "HMARKT",
    ]
)
ROLES = frozenset(
    [
        "physician",
        "nurse",
        "paramedic",
        "pharmacist",
        "clerk",
        "billing",
        "quality",
        "researcher",
        "public-health-officer",
        "investigator",
        "patient",
        "proxy",
        "system",
    ]
)
LABELS = frozenset(
    [
        "BH",
        "MH",
        "PSY",
        "PSYTHPN",
        "SUD",
        "ETH",
        "ETHUD",
        "OPIOIDUD",
        "COGN",
        "DVD",
        "EMOTDIS",
        "SEX",
        "PREGNANT",
        "VIO",
        "SDV",
        "GDIS",
        "SICKLE",
        "HIV",
        "STD",
        "TBOO",
        "DEMO",
        "ADOL",
        "CEL",
        "VIP",
        "42CFRPart2",
        "NOPAT",
    ]
)
CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")
OBLIGATIONS = frozenset(
    [
        "MINEC",
        "PART2-NOTICE",
        "NORDSCLCD",
        "REDISCLOSE-HIPAA",
        "NOTIFY-PATIENT",
        "REVIEW",
        "NOREUSE",
        "NORELINK",
        "ACCOUNT",
    ]
)

OID = re.compile(r"^[0-2](\.(0|[1-9]\d*))+$")
PARTICIPANT_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")
# RFC 6749 scope-token, without the query part of SMART v2: the hub does not enforce one, so it grants none.
SCOPE = re.compile(r"^[\x21\x23-\x3e\x40-\x5b\x5d-\x7e]+$")
SMART_SCOPE = re.compile(r"^system/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)$")
SMART_CONTEXTS = ("system/", "user/", "patient/")
