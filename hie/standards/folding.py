"""Text as it is compared when people search: without accents, case, and the ways one letter is written. Pure.

"García" is found by "garcia", "أحمد" by "احمد", "٣" by "3", "ﬁ" by "fi".
"""

from __future__ import annotations

import unicodedata

# Letters that Arabic writers use for one another, and the stroke that only stretches a word.
_ARABIC = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ئ": "ي", "ؤ": "و", "ة": "ه", "ـ": None})


def folded(text: str) -> str:
    """The text to compare: NFKD, no marks or format characters, case folded, decimal digits as 0 to 9, blanks as one each."""
    plain = unicodedata.normalize("NFKD", text.translate(_ARABIC))
    kept = "".join(_digit(c) for c in plain if unicodedata.category(c) not in {"Mn", "Me", "Cf"})
    return " ".join(kept.casefold().translate(_ARABIC).split())


def _digit(character: str) -> str:
    return character if character.isascii() or not character.isdecimal() else str(unicodedata.decimal(character))
