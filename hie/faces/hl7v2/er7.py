"""ER7, the pipe-and-hat form of HL7 v2: bytes to segments, read as the world writes them.

Real senders end segments with LF or CR LF, put a byte order mark in front of MSH, wrap
long segments over several lines, declare no character set or the wrong one, and send
batches. All that is put right here, before the `hl7` library splits the text; nothing
is ever guessed about the meaning of a field.

Source: HL7 v2.5.1 chapter 2 (2.5, 2.7, 2.10.3, 2.15.9.18).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import hl7

from hie.standards.errors import HubError, MalformedContent

NULL = '""'  # an explicit "delete this value" (HL7 v2.5.1 2.5.3)
MAX_SEGMENTS = 20_000

_BREAKS = re.compile(r"[\r\n\x0b\x1c]+")
_SEGMENT = re.compile(r"([A-Z][A-Z0-9]{2})([^A-Za-z0-9\s]|$)")
_HEADERS = ("MSH", "BHS", "FHS")
_CHARSETS = {  # HL7 table 0211 -> Python codec
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
}


class MessageRefused(HubError):
    """A message is not taken. `code` is of HL7 table 0357, `reject` tells AR from AE.

    `location` is (segment, sequence, field, repetition, component), trailing parts left out.
    """

    def __init__(self, message: str, *, code: str, location: tuple[str | int, ...] = (), reject: bool = True) -> None:
        element = f"{location[0]}-{location[2]}" if len(location) > 2 else (str(location[0]) if location else None)
        super().__init__(message, element=element)
        self.code = code
        self.location = location
        self.reject = reject


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: fields of repetitions of components of subcomponents, all unescaped text."""

    name: str
    fields: tuple[tuple[tuple[tuple[str, ...], ...], ...], ...]

    def repetitions(self, number: int) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """The repetitions of field `number` (1 is the first) that say anything at all."""
        if number >= len(self.fields):
            return ()
        return tuple(rep for rep in self.fields[number] if any(sub.strip() for comp in rep for sub in comp))

    def text(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """One value of the first repetition, stripped; "" when absent."""
        reps = self.repetitions(number)
        return part(reps[0], component, subcomponent) if reps else ""

    def raw(self, number: int) -> str:
        """The first component of a field exactly as sent, blanks included (a control id is echoed unchanged)."""
        if number >= len(self.fields) or not self.fields[number]:
            return ""
        return self.fields[number][0][0][0]

    def is_null(self, number: int) -> bool:
        """Whether the sender explicitly deleted this field."""
        return self.text(number) == NULL


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its segments in order, MSH first."""

    segments: tuple[Segment, ...]
    charset: str = "ascii"
    source: str = field(default="", repr=False)

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    def first(self, name: str) -> Segment | None:
        """The first segment of this name."""
        return next((s for s in self.segments if s.name == name), None)

    def all(self, name: str) -> list[Segment]:
        """Every segment of this name, in order."""
        return [s for s in self.segments if s.name == name]

    @property
    def control_id(self) -> str:
        """MSH-10, exactly as sent."""
        return self.header.raw(10)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.header.text(12)

    @property
    def type_code(self) -> str:
        """MSH-9.1, such as ``ADT``."""
        return self.header.text(9, 1)

    @property
    def event(self) -> str:
        """MSH-9.2, such as ``A01``; EVN-1 where an old sender leaves it out."""
        named = self.header.text(9, 2)
        if named:
            return named
        event = self.first("EVN")
        return event.text(1) if event else ""

    @property
    def kind(self) -> str:
        """``ADT^A01``."""
        return f"{self.type_code}^{self.event}" if self.event else self.type_code


@dataclass(frozen=True, slots=True)
class Interchange:
    """What one MLLP block or file carried: messages, and whether a batch or file stood around them."""

    messages: tuple[bytes, ...]
    batch: bool = False
    file: bool = False


def part(repetition: tuple[tuple[str, ...], ...], component: int, subcomponent: int = 1) -> str:
    """One component (from 1) of a repetition, stripped; "" when absent."""
    if component > len(repetition) or subcomponent > len(repetition[component - 1]):
        return ""
    return repetition[component - 1][subcomponent - 1].strip()


def decode(raw: bytes) -> tuple[str, str]:
    """Bytes to text, and the codec used.

    A byte order mark decides; then whether the bytes are UTF-8 (senders declare 8859/1 and send
    UTF-8, or declare nothing, and Latin text is practically never valid UTF-8 by chance); then
    MSH-18; then ISO 8859-1, which never fails.

    Raises:
        MalformedContent: NUL bytes, or bytes that are not of the declared character set.
    """
    for mark, codec in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if raw.startswith(mark):
            return _checked(raw.removeprefix(mark) if codec == "utf-8" else raw, codec), codec
    if b"\x00" in raw:
        raise MalformedContent("the message contains NUL bytes", element="MSH")
    if raw.isascii():
        return raw.decode("ascii"), "ascii"
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    declared = _declared_charset(raw)
    codec = _CHARSETS.get(declared.upper(), "iso8859-1")
    if codec in ("ascii", "utf-8", "utf-16", "utf-32"):  # declared, but not so: the bytes win
        codec = "iso8859-1"
    return _checked(raw, codec), codec


def split(raw: bytes) -> Interchange:
    """The messages of a block, each as bytes of its own; a batch or file header is noted and dropped.

    Raises:
        MalformedContent: there is no MSH segment.
    """
    text, codec = decode(raw)
    codec = "utf-8" if codec in ("ascii", "utf-16") else codec
    messages: list[list[str]] = []
    batch = file = False
    for line in _lines(text):
        name = line[:3]
        if name == "FHS":
            file = True
        elif name == "BHS":
            batch = True
        elif name in ("BTS", "FTS"):
            continue
        elif name == "MSH":
            messages.append([line])
        elif messages:
            messages[-1].append(line)
        else:
            raise MalformedContent("the first segment of a message must be MSH", element="MSH")
    if not messages:
        raise MalformedContent("there is no MSH segment", element="MSH")
    return Interchange(tuple(("\r".join(m) + "\r").encode(codec) for m in messages), batch or len(messages) > 1, file)


def parse(raw: bytes) -> Message:
    """One message.

    Raises:
        MalformedContent: no MSH, unusable separators, more than 20,000 segments.
    """
    text, codec = decode(raw)
    lines = list(_lines(text))
    if not lines or not lines[0].startswith("MSH"):
        raise MalformedContent("the first segment of a message must be MSH", element="MSH")
    if len(lines) > MAX_SEGMENTS:
        raise MalformedContent(f"more than {MAX_SEGMENTS} segments", element="MSH")
    _check_separators(lines[0])
    try:
        tree = hl7.parse("\r".join(lines))
    except (hl7.ParseException, IndexError, AssertionError) as problem:
        raise MalformedContent("the segments cannot be split by the separators of MSH-1 and MSH-2") from problem
    escapes = _Escapes(tree.esc, tree.separators)
    return Message(tuple(_segment(s, escapes) for s in tree), codec, text)


def header(raw: bytes) -> Message | None:
    """Only MSH of a message, for its envelope; None when it cannot be read."""
    try:
        text, _ = decode(raw)
        first = next(_lines(text), "")
        return parse(first.encode("utf-8")) if first else None
    except MalformedContent:
        return None


def _check_separators(msh: str) -> None:
    end = msh.find(msh[3], 4) if len(msh) > 4 else -1
    separators = msh[3:end] if end > 0 else ""
    if not 2 <= len(separators) <= 6 or len(set(separators)) != len(separators) or any(c.isalnum() for c in separators):
        raise MalformedContent("MSH-1 and MSH-2 do not name usable separators", element="MSH-2")


def _lines(text: str) -> Iterator[str]:
    """Whole segments: a line that does not begin with a name and the field separator continues the one before it."""
    current = separator = ""
    for line in _BREAKS.split(text.lstrip("\ufeff")):
        start = line.lstrip()
        found = _SEGMENT.match(start)
        if found and found[1] in _HEADERS and not separator:
            separator = found[2]
        if found and found[2] in ("", separator):
            if current:
                yield current
            current = start
        elif current:
            current += line
        elif start:
            raise MalformedContent("the message does not begin with a segment name", element="MSH")
    if current:
        yield current


def _declared_charset(raw: bytes) -> str:
    head = _BREAKS.split(raw[:4096].decode("iso8859-1"))[0]
    if len(head) < 9:
        return ""
    fields = head.split(head[3])
    declared = fields[17] if len(fields) > 17 else ""
    return re.split(r"[~^]", declared)[0].strip()


def _checked(raw: bytes, codec: str) -> str:
    try:
        text = raw.decode(codec)
    except (UnicodeDecodeError, LookupError) as problem:
        raise MalformedContent(f"the bytes are not {codec}", element="MSH-18") from problem
    if "\x00" in text:
        raise MalformedContent("the message contains NUL bytes", element="MSH")
    return text


_ESCAPED = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})


def escape(value: str) -> str:
    """Text as the usual separators allow it; line ends and other control characters become blanks."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", value.translate(_ESCAPED))


def encode(segment: Segment) -> str:
    """A segment with the usual separators, whatever it came with; empty ends are left out."""
    fields = [
        "~".join(
            "^".join("&".join(escape(sub) for sub in comp).rstrip("&") for comp in rep).rstrip("^") for rep in reps
        )
        for reps in segment.fields
    ]
    return "|".join(fields).rstrip("|")


class _Escapes:
    """Escape sequences of one message. The library's own would log field content, so not used."""

    def __init__(self, escape: str, separators: str) -> None:
        self._escape = escape
        self._plain = {
            "F": separators[1],
            "R": separators[2],
            "S": separators[3],
            "T": separators[4],
            "E": escape,
            "H": "",
            "N": "",
            "P": "#",
        }
        self._pattern = re.compile(re.escape(escape) + r"([^" + re.escape(escape) + r"\r]{1,200})" + re.escape(escape))

    def undo(self, value: str) -> str:
        return self._pattern.sub(self._one, value) if self._escape in value else value

    def _one(self, found: re.Match[str]) -> str:
        code = found[1]
        if code in self._plain:
            return self._plain[code]
        if code[0] == "X" and re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", code[1:]):
            data = bytes.fromhex(code[1:])
            try:
                return data.decode("utf-8")
            except UnicodeDecodeError:
                return data.decode("iso8859-1")
        if code.startswith((".br", ".sp", ".ce")):
            return "\n"
        if code.startswith("."):
            return " "
        return found[0]  # not ours to interpret: kept as sent


def _segment(segment: hl7.Segment, escapes: _Escapes) -> Segment:
    name = str(segment[0])
    fields: list[tuple[tuple[tuple[str, ...], ...], ...]] = [(((name,),),)]
    for number, entry in enumerate(list(segment)[1:], start=1):
        if name == "MSH" and number <= 2:
            fields.append((((str(entry),),),))
            continue
        fields.append(tuple(_repetition(rep, escapes) for rep in ([entry] if isinstance(entry, str) else entry)))
    return Segment(name, tuple(fields))


def _repetition(rep: object, escapes: _Escapes) -> tuple[tuple[str, ...], ...]:
    if isinstance(rep, str):
        return ((escapes.undo(rep),),)
    assert isinstance(rep, list)
    return tuple(
        (escapes.undo(comp),) if isinstance(comp, str) else tuple(escapes.undo(str(sub)) for sub in comp)
        for comp in rep
    ) or (("",),)
