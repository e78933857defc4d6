"""Demographics to comparable features: pure, versioned, the same for bulk and real time.

Placeholders ("unknown", "baby boy", 1900-01-01, 999-99-9999) become missing values, not
evidence. Former names, aliases and old addresses are kept as further variants of a field.

Source: spec/mpi.md section 3, Normalise.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from typing import Any

import orjson
import phonenumbers
from unidecode import unidecode

from hie.standards.demographics import Address, Demographics, HumanName, Identifier, authority_of
from hie.standards.values import quick

VERSION = "1"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ẞ": "SS"})
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_TITLES = _set(
    "mr mrs ms miss mx dr prof professor sir dame lord lady rev reverend fr father hon honourable rt herr frau madame"
    " mme mlle monsieur sr sra srta don dona capt captain col colonel gen general lt lieutenant sgt major baron baroness"
    " earl viscount viscountess count countess duke duchess marquess marquis admiral"
)
_SUFFIXES = _set("jr junior snr senior ii iii iv phd md esq dds rn bart baronet bt kbe obe cbe mbe")
_GIVEN_TOO = _set("don earl major baron duke count general marquis junior md bart gen col")
_SURNAME_TOO = _set(
    "earl major baron duke lord count general captain father admiral dame marquis marquess junior senior sergeant"
)
"""Titles and suffixes that people are called, too: taken as the name where nothing else is there."""
_ORDINAL = re.compile(r"[0-9]+(st|nd|rd|th)?\Z")
_PARTICLES = _set(
    "von van der den de del della di da dos das do du la le las los y e zu zum zur af av bin ibn bint al el ter ten"
    " of the"
)
_NAME_PLACEHOLDERS = _set(
    "unknown unk unkn unknow none null nil na nn anonymous anon test patient notknown notgiven baby babyboy babygirl boy"
    " girl male female infant newborn child twin undefined nofirstname nolastname noname missing xx xxx xxxx zz zzz"
)
_BABY = re.compile(r"(baby|newborn|infant|twin|triplet|bb|bg)( (boy|girl|male|female|of|[a-d]|[0-9]))+\b.*")
_BAD_BIRTH = frozenset({"19000101", "18000101", "18581117", "99991231", "99999999", "11111111", "10000101", "19010101"})
_EMAIL_PLACEHOLDERS = re.compile(r"(no|none|noemail|unknown|test|null|na|donotreply|noreply|xxx?)(@.*)?\Z")
_STREET_WORDS = {
    "st": "street", "str": "street", "rd": "road", "ave": "avenue", "av": "avenue", "dr": "drive", "ct": "court",
    "crt": "court", "pl": "place", "cr": "crescent", "cres": "crescent", "crs": "crescent", "ln": "lane", "la": "lane",
    "blvd": "boulevard", "bvd": "boulevard", "hwy": "highway", "pde": "parade", "tce": "terrace", "ter": "terrace",
    "terr": "terrace", "cct": "circuit", "cir": "circle", "sq": "square", "pkwy": "parkway", "gr": "grove",
    "gdns": "gardens", "cl": "close", "wy": "way", "strasse": "street", "mt": "mount", "n": "north", "s": "south",
    "e": "east", "w": "west", "hts": "heights", "trl": "trail", "plz": "plaza", "esp": "esplanade",
}  # fmt: skip
_UNIT = re.compile(
    r"\b(apartment|apt|unit|flat|suite|ste|room|rm|level|lvl|floor|fl|lot|villa|no)\b\.? *#? *[0-9]*[a-z]?\b"
)
_NO_NUMBER = re.compile(r"[^0-9A-Z]")
_NORTH_AMERICA = re.compile(r"\+1([2-9][0-9]{9})\Z")
_EXTENSION = re.compile(r"(?i)\s*(?:x|ext\.?|extension|#)\s*\d")
_LOCAL_TYPES = frozenset({"VN", "AN", "ACSN", "PLAC", "FILL"})  # visits, accounts and orders identify no person


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What is compared of one record; each tuple holds the variants of a field, the current one first.

    `given` and `surname` are cleaned words joined by a blank; `birth` 8 digits (``19700131``; unknown
    parts 00); `streets` ``number|street``; `places` ``post code|town``; `phones` national digits;
    `idents` ``system|VALUE`` shared between organizations, `own` the record's local identifier, which
    is evidence only where another record names it too. `multiple` is a multiple-birth flag, `order` the birth
    order where that was said (0 = not).
    """

    given: tuple[str, ...] = ()
    surname: tuple[str, ...] = ()
    birth: tuple[str, ...] = ()
    sex: str = ""
    streets: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    idents: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    occupation: str = ""
    multiple: bool = False
    order: int = 0

    # Each record of an import goes from one process to another: quicker than what dataclasses do of themselves.
    def __getstate__(self) -> tuple[Any, ...]:
        return _VALUES(self)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(_FIELDS, state, strict=True):
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """As JSON data, without the empty members."""
        return {
            name: list(value) if type(value) is tuple else value
            for name, value in zip(_FIELDS, _VALUES(self), strict=True)
            if value
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Features:
        """Features from what `to_json` gave."""
        values: dict[str, Any] = {key: tuple(value) if type(value) is list else value for key, value in data.items()}
        return cls(**values)

    @classmethod
    def read(cls, text: str) -> Features:
        """Features from the JSON text of what `to_json` gave."""
        try:
            data = orjson.loads(text)
        except orjson.JSONDecodeError:
            data = None
        # orjson makes fractions of whole numbers beyond 64 bits; Python's json keeps them.
        if data is None or type(data.get("order", 0)) is not int:
            data = json.loads(text)
        return cls.from_json(data)


_FIELDS = tuple(item.name for item in fields(Features))
_VALUES = attrgetter(*_FIELDS)

MAX_COMPARED = 128
_MAX_VALUES, _MAX_ALIASES = 32, 8
"""Characters of a value, values of a field, aliases of a name that are compared: nobody has more, and comparing
costs their product. What was sent is stored whole."""


def fold(text: str) -> str:
    """Lower-case ASCII words: accents, other scripts, German umlauts and punctuation taken away."""
    # A cache of long texts would hold gigabytes.
    return _folded(text) if len(text) <= 4 * MAX_COMPARED else _folded.__wrapped__(text)


@lru_cache(maxsize=200_000)
def _folded(text: str) -> str:
    lowered = text.translate(_GERMAN)
    if not lowered.isascii():
        whole = lowered.encode("utf-8", "ignore").decode()  # half characters are no letters
        lowered = unidecode(unicodedata.normalize("NFKC", whole))
    lowered = lowered.lower().replace("'", "").replace("`", "").replace(".", " ")
    return _NOT_WORD.sub(" ", lowered).strip()


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold, and be asked for, this text."""
    if text.isascii():
        return "\x00" not in text
    return not any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text)


def search_words(text: str) -> list[str]:
    """The folded text and each of its words: what a starts-with search is asked against."""
    whole = fold(text)
    if " " not in whole:
        return [whole] if whole else []
    return list(dict.fromkeys([whole, *whole.split()]))


def _is_name(word: str) -> bool:
    return word not in _TITLES and word not in _SUFFIXES and not _ORDINAL.match(word)


def _called(words: list[str], too: frozenset[str] = frozenset()) -> list[str]:
    """Without titles, suffixes and numbers; of these alone what may be a name (`too`)."""
    return [word for word in words if _is_name(word)] or [word for word in words if word in too]


@lru_cache(maxsize=200_000)
def _given(text: str) -> str:
    joined = " ".join(_called(fold(text).split(), _GIVEN_TOO))
    if not joined or joined.replace(" ", "") in _NAME_PLACEHOLDERS or _BABY.match(joined):
        return ""
    return joined


@lru_cache(maxsize=200_000)
def _surname(text: str) -> str:
    words = fold(text).split()
    if len(words) > 1 and words[0] in ("o", "mc", "mac"):
        words = [words[0] + words[1], *words[2:]]
    called = _called(words, _SURNAME_TOO)
    joined = " ".join([word for word in called if word not in _PARTICLES] or called)
    return "" if joined.replace(" ", "") in _NAME_PLACEHOLDERS else joined


def _names(names: Sequence[HumanName]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    given: list[str] = []
    surname: list[str] = []
    # Former names after the current ones: the first variant is what a person is called today.
    for name in sorted(names, key=lambda item: item.use in ("old", "maiden", "nickname")):
        first, last = " ".join([part for part in name.given if part]), name.family
        if not first and not last and name.text:
            first, last = _parted(name.text)
            text = ""
        else:
            text = name.text
        # What follows a comma is an alias: a title of nobility, a stage name.
        own = [_given(_short(part)) for part in first.split(",")[:_MAX_ALIASES]]
        family = [_surname(_short(part)) for part in last.split(",")[:_MAX_ALIASES]]
        if text:
            further, aliases = _beyond(_short(text), own[0], family[0])
            own += further
            family += aliases
        given += own
        surname += family
    return _distinct(given), _distinct(surname)


def _parted(text: str) -> tuple[str, str]:
    """A whole name as given names and surname: "Surname, Given", or the surname last and aliases after a comma."""
    head, comma, tail = text.partition(",")
    if not comma:
        first, _, last = head.strip().rpartition(" ")
        return first, last
    if len(fold(head).split()) > 1 and not any(map(_is_name, fold(tail).split())):
        return _parted(head)  # "Anna Berg, MD"
    return tail, head


def _beyond(text: str, given: str, surname: str) -> tuple[list[str], list[str]]:
    """What a whole name says beyond its parts: given names with the further ones, and aliases after a comma."""
    head, *tails = text.split(",")
    parts, last = given.split(), surname.split()
    words = [word for word in _called(fold(head).split()) if word not in _PARTICLES]
    if (parts or last) and not {*parts, *last} & set(words):
        return [], []  # another order or another script: nothing to hold on to
    tails = [alias for tail in tails[:_MAX_ALIASES] if (alias := _surname(tail))]
    aliases = [alias for alias in tails if not {*alias.split()} & {*parts, *last}]
    if not {*words} - {*parts, *last}:
        return [], aliases
    if last and last[-1] in words:
        words = words[: words.index(last[-1])]
    elif len(words) > 1 and words[-1] not in parts:
        aliases.insert(0, words.pop())
    middle = [word for word in words if word not in last]
    return ([_given(" ".join(middle))] if not parts or middle[:1] == parts[:1] else []), aliases


def _short(text: str) -> str:
    return text[:MAX_COMPARED]


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    kept = [_short(value) for value in values if value]
    return tuple(kept if len(kept) < 2 else islice(dict.fromkeys(kept), _MAX_VALUES))


@lru_cache(maxsize=100_000)
def birth_digits(text: str) -> str:
    """A birth date as 8 digits YYYYMMDD, unknown parts 00; "" when missing or a placeholder.

    Takes ISO dates and dateTimes, YYYYMMDD, D.M.YYYY, D/M/YYYY (M/D/YYYY when only that is possible).
    An impossible date keeps its 8 digits: a typing error is evidence too.
    """
    stripped = text.strip().split("T")[0]
    parts = [part for part in re.split(r"\D+", stripped) if part]
    digits = ""
    if len(parts) == 1 and len(parts[0]) >= 8:
        digits = parts[0][:8]
    elif len(parts) == 1 and len(parts[0]) in (4, 6):
        digits = parts[0].ljust(8, "0")
    elif len(parts) == 2 and len(parts[0]) == 4:
        digits = f"{parts[0]}{parts[1]:0>2}00"
    elif len(parts) >= 3 and len(parts[0]) == 4:
        digits = f"{parts[0]}{parts[1]:0>2}{parts[2]:0>2}"
    elif len(parts) >= 3 and len(parts[2]) == 4:
        day, month = parts[0], parts[1]
        if int(month) > 12 >= int(day):
            day, month = month, day
        digits = f"{parts[2]}{month:0>2}{day:0>2}"
    if len(digits) != 8 or digits in _BAD_BIRTH or digits.startswith("0000"):
        return ""
    return digits


@lru_cache(maxsize=100_000)
def phone_digits(text: str) -> str:
    """The national digits of a phone number, without extension; "" when missing or a placeholder."""
    number = _EXTENSION.split(text.strip())[0]
    if number.startswith(("+", "00")):
        try:
            abroad = "+" + number.lstrip("+0")
            # In North America what follows the 1 is the national number, and never begins with its trunk prefix.
            plain = _NORTH_AMERICA.match(abroad)
            digits = plain[1] if plain else str(phonenumbers.parse(abroad, None).national_number)
        except phonenumbers.NumberParseException:
            digits = re.sub(r"\D", "", number)
    else:
        digits = re.sub(r"\D", "", number).lstrip("0")
        if len(digits) == 11 and digits[0] == "1":
            digits = digits[1:]
    if len(digits) < 6 or len(set(digits)) <= 2 or digits in ("1234567", "12345678", "123456789", "1234567890"):
        return ""
    return digits[-10:]


def email_text(text: str) -> str:
    """An e-mail address in lower case; "" when missing or a placeholder."""
    lowered = text.strip().lower().removeprefix("mailto:")
    return "" if len(lowered) < 5 or _EMAIL_PLACEHOLDERS.match(lowered) else lowered


@lru_cache(maxsize=200_000)
def street_text(lines: tuple[str, ...]) -> str:
    """``number|street`` of an address's lines; the line with a house number wins over a building's name."""
    folded = [_UNIT.sub(" ", fold(re.sub(r"\b\d+\s*/\s*(?=\d)", " ", line))).split() for line in lines if line]
    folded = [words for words in folded if words]
    if not folded:
        return ""
    words = next((words for words in folded if words[0][0].isdigit() or words[-1][0].isdigit()), folded[0])
    number = next((word for word in words if word[0].isdigit()), "")
    name = [_STREET_WORDS.get(word, word) for word in words if word != number]
    if len(name) > 1 and name[0] == "street":
        name[0] = "saint"  # "St Johns Road": an abbreviation in front is no kind of street
    joined = " ".join(name)
    return f"{number}|{joined}" if joined and joined not in ("unknown", "none", "null", "homeless") else ""


@lru_cache(maxsize=200_000)
def place_text(postal_code: str, city: str) -> str:
    """``post code|town``; "" when both are missing."""
    code = _NOT_WORD.sub("", fold(postal_code))
    if len(code) == 9 and code.isdigit():
        code = code[:5]
    if len(set(code)) <= 1:  # 0000, 99999
        code = ""
    town = fold(city.split(",")[0])
    if town in ("unknown", "none", "null"):
        town = ""
    return f"{code}|{town}" if code or town else ""


def identifier_text(identifier: Identifier) -> str:
    """``system|VALUE`` with letters and digits only; "" for placeholders and what identifies no person."""
    return "" if identifier.type in _LOCAL_TYPES else _number_text(identifier.authority, identifier.value)


@lru_cache(maxsize=4)  # a record's own number stands among its identifiers as well
def _number_text(authority: str, number: str) -> str:
    value = _NO_NUMBER.sub("", number.upper())
    plain = value.lstrip("0")
    if len(value) < 3 or len(set(value)) <= 1 or plain in ("", "123456789", "UNKNOWN", "NONE", "NULL"):
        return ""
    return f"{authority}|{value}"


def _addresses(addresses: Sequence[Address]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ordered = sorted(addresses, key=lambda item: item.use == "old")
    lines = [item.lines or ((item.text,) if item.text else ()) for item in ordered]
    streets = _distinct([street_text(tuple(map(_short, some[:_MAX_ALIASES]))) for some in lines])
    return streets, _distinct([place_text(_short(item.postal_code), _short(item.city)) for item in ordered])


def features(demographics: Demographics, *, own: tuple[str, str] | None = None) -> Features:
    """What is compared of a record; `own` is its local identifier as (authority, value)."""
    given, surname = _names(demographics.names)
    streets, places = _addresses(demographics.addresses)
    if not places and demographics.birth_place is not None:
        places = _distinct(
            [place_text(_short(demographics.birth_place.postal_code), _short(demographics.birth_place.city))]
        )
    birth = birth_digits(demographics.birth_date[:MAX_COMPARED])
    own_key = _short(_number_text(authority_of(own[0]), own[1])) if own is not None else ""
    idents = _distinct(map(identifier_text, demographics.identifiers))
    return Features(
        given=given,
        surname=surname,
        birth=(birth,) if birth else (),
        sex=demographics.gender[:1] if demographics.gender in ("male", "female") else "",
        streets=streets,
        places=places,
        phones=_distinct(
            [phone_digits(_short(item.value)) for item in demographics.telecoms if item.system in ("phone", "sms", "")]
        ),
        emails=_distinct([email_text(_short(item.value)) for item in demographics.telecoms if item.system == "email"]),
        idents=tuple([item for item in idents if item != own_key]),
        own=(own_key,) if own_key else (),
        occupation=fold(_short(demographics.occupation)),
        multiple=bool(demographics.multiple_birth),
        order=_birth_order(demographics.multiple_birth),
    )


def _birth_order(multiple_birth: bool | int | None) -> int:
    return multiple_birth if isinstance(multiple_birth, int) and not isinstance(multiple_birth, bool) else 0
