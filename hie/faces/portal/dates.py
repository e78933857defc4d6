"""Days and hours as people read them, in the reader's language and the patient's time zone."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from functools import lru_cache

from django.utils import formats, translation
from django.utils.translation import gettext

_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def digits(text: str | int) -> str:
    """Figures in the reader's script: Arabic-Indic in Arabic text."""
    return str(text).translate(_ARABIC) if _language() == "ar" else str(text)


def clock(moment: datetime, zone: tzinfo) -> str:
    """2:06 pm, 14:06, ٢:٠٦ م."""
    local = moment.astimezone(zone)
    if _language() == "es":
        return f"{local.hour:02d}:{local.minute:02d}"
    hour = local.hour % 12 or 12
    return digits(f"{hour}:{local.minute:02d} {_half(_language(), local.hour < 12)}")


def day(moment: date) -> str:
    """19 November 2026."""
    return digits(formats.date_format(moment, gettext("j F Y")))


def month(moment: date) -> str:
    """November 2026."""
    text = formats.date_format(moment, gettext("F Y"))
    return digits(text[:1].upper() + text[1:])


def short_day(moment: date) -> str:
    """19 Nov."""
    return digits(formats.date_format(moment, "j M"))


def weekday(moment: date) -> str:
    """Thursday."""
    return formats.date_format(moment, "l")


def fhir_date(text: str) -> str:
    """A FHIR date of any precision in words; text that is none unchanged."""
    for form, shown in (("%Y-%m-%d", gettext("j F Y")), ("%Y-%m", "F Y")):
        try:
            return digits(formats.date_format(datetime.strptime(text[:10], form).date(), shown))  # noqa: DTZ007  a calendar day
        except ValueError:
            continue
    return digits(text)


def heading(moment: date, today: date) -> tuple[str, str]:
    """What a day is called, and the second voice beside it: ("Today", "Thursday 19 November 2026")."""
    ago = (today - moment).days
    full = gettext("{weekday} {day}").format(weekday=weekday(moment), day=day(moment))
    if ago == 0:
        return gettext("Today"), full
    if ago == 1:
        return gettext("Yesterday"), full
    if 1 < ago < 7:
        name = weekday(moment)
        return name[:1].upper() + name[1:], day(moment)
    return day(moment), weekday(moment)


@lru_cache(maxsize=8)
def _half(language: str, morning: bool) -> str:
    """The half of the day in the language that is active: looked up once, as a page says it a hundred times."""
    return gettext("am") if morning else gettext("pm")


def _language() -> str:
    return (translation.get_language() or "en").split("-")[0]
