"""Rich Text Format as plain text: letters of older systems, read without their look.

Paragraphs, lines, tabs and cells stay apart; fonts, pictures, styles and fields' instructions are left out. Never fails: what
is no RTF gives what text there is.

Source: Microsoft Rich Text Format Specification 1.9.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"\\(?P<word>[a-z]{1,32})(?P<number>-?\d{1,10})?[ ]?|\\'(?P<hex>[0-9a-f]{2})|\\(?P<symbol>[^a-z])|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)",
    re.IGNORECASE | re.DOTALL,
)
_UNSEEN = frozenset(
    [
        "fonttbl",
        "colortbl",
        "stylesheet",
        "listtable",
        "listoverridetable",
        "info",
        "pict",
        "object",
        "themedata",
        "colorschememapping",
        "datastore",
        "latentstyles",
        "rsidtbl",
        "generator",
        "xmlnstbl",
        "fldinst",
        "header",
        "headerl",
        "headerr",
        "headerf",
        "footer",
        "footerl",
        "footerr",
        "footerf",
        "bkmkstart",
        "bkmkend",
    ]
)
_SAID = {
    "par": "\n", "sect": "\n", "page": "\n", "line": "\n", "row": "\n", "tab": "\t", "cell": "\t", "emdash": "—",
    "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•",
    "~": "\u00a0", "_": "-", "{": "{", "}": "}", "\\": "\\", "\n": "\n", "\r": "\n",
}  # fmt: skip


def text(data: bytes) -> str:
    """The text of an RTF document; eight-bit characters are of the code page that it names (1252 where it names none)."""
    source = data.decode("latin-1")
    found = re.search(r"\\ansicpg(\d{3,5})", source[:2000])
    page = f"cp{found.group(1)}" if found else "cp1252"
    try:
        b"".decode(page)
    except LookupError:
        page = "cp1252"
    out: list[str] = []
    stack: list[tuple[bool, int]] = []
    unseen, fallback, skip, marked = False, 1, 0, False
    held = bytearray()  # eight-bit characters one after the other may be one of several bytes

    def flush() -> None:
        if held:
            out.append(held.decode(page, errors="replace"))
            held.clear()

    for token in _TOKEN.finditer(source):
        if token["hex"] is not None:
            if skip:
                skip -= 1
            elif not unseen:
                held.append(int(token["hex"], 16))
            continue
        if token["text"]:
            said = token["text"][skip:]
            skip, marked = max(0, skip - len(token["text"])), False
            if not unseen:
                held += said.encode("latin-1")
            continue
        flush()
        word = (token["word"] or "").lower()
        if token["brace"] == "{":
            stack.append((unseen, fallback))
            skip = 0
        elif token["brace"] == "}":
            unseen, fallback = stack.pop() if stack else (False, 1)
            skip = 0
        elif token["symbol"] == "*":
            marked = True
            continue
        elif word == "u" and token["number"]:
            if not unseen:
                out.append(chr(int(token["number"]) % 0x10000))
            skip = fallback
        elif word == "uc" and token["number"]:
            fallback = max(0, int(token["number"]))
        elif word in _UNSEEN or (word and marked):
            unseen = True
        elif (word and word in _SAID) or token["symbol"]:
            if skip:
                skip -= 1
            elif not unseen:
                out.append(_SAID.get(word or token["symbol"], ""))
        marked = False
    flush()
    joined = "".join(out)
    # Characters beyond the first plane come as two halves.
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip("\x00")
