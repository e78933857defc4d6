r"""Delimiters of HL7 v2 within a component: escaped (``\S\`` for ``^`` …) and plain. Pure.

Source: HL7 v2.5.1 2.7.1; IHE ITI TF-3 table 4.2.3.1.7-2.
"""

from __future__ import annotations

import re

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_PLAIN = {escape: character for character, escape in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\[EFSTR]\\")
_DELIMITER = re.compile(r"[\\|^&~]")


def escape(text: str) -> str:
    """A component as it stands in a message."""
    return _DELIMITER.sub(lambda found: _ESCAPES[found[0]], text)


def plain(text: str) -> str:
    """A component without its escapes."""
    return _ESCAPED.sub(lambda found: _PLAIN[found[0]], text) if "\\" in text else text
