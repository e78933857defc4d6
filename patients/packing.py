"""Features of many records at once, packed: codes by column and bytes by record, no object a record. Pure; needs numpy.

A million records as objects are 1.7 GB, and 2 GB more in each process that looks at them, since to look at an object
is to write its count of uses. Packed they are a tenth of that, and stay shared.

Source: spec/mpi.md section 3, Compare.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from patients import blocking
from patients.normalise import Features

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]


class Values:
    """Distinct values of a field by number; 0 is a missing one. None comes any more once one has been asked for."""

    def __init__(self, missing: Any = ()) -> None:
        self._known: dict[Any, int] | None = {missing: 0}
        self._data = b""
        self._ends = np.empty(0, dtype=np.int64)

    def code(self, value: Any) -> int:
        """The number of a value, which is new or known."""
        assert self._known is not None, "values come before they are asked for"
        return self._known.setdefault(value, len(self._known))

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._known is None else len(self._known)

    def pack(self) -> None:
        """Put the values away as bytes, for processes to share; once is enough."""
        if self._known is not None:
            parts = [marshal.dumps(value) for value in self._known]
            self._ends = np.concatenate(
                ([0], np.cumsum(np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))))
            )
            self._data, self._known = b"".join(parts), None

    def some(self, numbers: Ints) -> list[Any]:
        """The values of these numbers."""
        self.pack()
        view, load = memoryview(self._data), marshal.loads
        starts, ends = self._ends[numbers].tolist(), self._ends[numbers + 1].tolist()
        return [load(view[start:end]) for start, end in zip(starts, ends, strict=True)]

    def all(self) -> list[Any]:
        """Every value, by number."""
        return self.some(np.arange(len(self), dtype=np.int64))


class Records(Sequence[Features]):
    """Many records: each as `Features` when asked for, and all of them by column as codes (`codes`).

    `names` are the values behind the codes of ``given`` and ``surname``, which are compared crosswise too; `values`
    those of the other columns. The local identifier (`own`) is a 64-bit hash, 0 where there is none: equal ones are
    to be looked at. `named` says of which of them another record's `idents` may speak.
    """

    def __init__(self, records: Iterable[Features] = ()) -> None:
        self._data, self._ends = bytearray(), array("q", [0])
        self.names = Values()
        self.values = {
            "birth": Values(), "streets": Values(), "places": Values(), "phones": Values(), "emails": Values(),
            "idents": Values(), "sex": Values(""), "occupation": Values(""), "order": Values(0),
        }  # fmt: skip
        self._codes = {name: array("i") for name in ("given", "surname", *self.values)}
        self._own, self._multiple = array("q"), bytearray()
        self._ident_hashes = array("q")
        self._named: NDArray[np.bool_] | None = None
        self.add(records)

    def add(self, records: Iterable[Features]) -> None:
        """Further records, in the order of their positions; all of them before the first is compared."""
        self.add_packed(map(packed, records))

    def add_packed(self, records: Iterable[bytes]) -> None:
        """As `add`, of records as `packed` gives them."""
        name, code = self.names.code, {field: values.code for field, values in self.values.items()}
        held = self._codes
        for data in records:
            self._data += data
            self._ends.append(len(self._data))
            (
                given, surname, birth, sex, streets, places, phones, emails, idents, own, occupation, multiple, order,
            ) = marshal.loads(data)  # fmt: skip  # noqa: S302  # as `packed` made it
            held["given"].append(name(given))
            held["surname"].append(name(surname))
            held["birth"].append(code["birth"](birth))
            held["sex"].append(code["sex"](sex))
            held["streets"].append(code["streets"](streets))
            held["places"].append(code["places"](places))
            held["phones"].append(code["phones"](phones))
            held["emails"].append(code["emails"](emails))
            known = len(self.values["idents"])
            number = code["idents"](idents)
            if number == known:
                self._ident_hashes.extend(map(hash, idents))
            held["idents"].append(number)
            held["occupation"].append(code["occupation"](occupation))
            held["order"].append(code["order"](order))
            self._own.append(hash(own[0]) or 1 if own else 0)
            self._multiple.append(multiple)

    def pack(self) -> None:
        """Put the values away as bytes, before processes are forked that share them."""
        self.names.pack()
        for values in self.values.values():
            values.pack()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Features: ...
    @overload
    def __getitem__(self, index: slice) -> list[Features]: ...
    def __getitem__(self, index: int | slice) -> Features | list[Features]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return unpacked(self._data[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[Features]:
        for position in range(len(self)):
            yield self[position]

    def codes(self, column: str) -> Codes:
        """The codes of a column by position. To be let go of before further records are added."""
        return np.frombuffer(self._codes[column], dtype=np.int32)

    @property
    def own(self) -> Ints:
        """The hashes of local identifiers, by position."""
        return np.frombuffer(self._own, dtype=np.int64)

    @property
    def named(self) -> NDArray[np.bool_]:
        """Of which positions the local identifier may stand among some record's `idents`."""
        if self._named is None or len(self._named) != len(self):
            hashes = distinct(np.frombuffer(self._ident_hashes, dtype=np.int64))
            self._named = np.isin(self.own, hashes)
        return self._named

    @property
    def multiple(self) -> NDArray[np.bool_]:
        """Multiple-birth flags by position."""
        return np.frombuffer(self._multiple, dtype=bool)

    def refinements(self) -> Ints:
        """`blocking.refinements` of each record as numbers, in whose order those of names stand as the texts do."""
        names = self.names.all()
        given, surname = self.codes("given"), self.codes("surname")
        first = [blocking.refinements(Features(given=value)) for value in names]
        last = [blocking.refinements(Features(surname=value))[2] for value in names]
        letters = _ranks([item[0] for item in first])
        one, other = letters[given], letters[surname]
        born = _ranks([blocking.refinements(Features(birth=value))[3] for value in self.values["birth"].all()])
        placed = [blocking.refinements(Features(places=value)) for value in self.values["places"].all()]
        out = np.empty((len(self), 6), dtype=np.int64)
        # Initials are two letters in either order.
        out[:, 0] = np.minimum(one, other) * (1 << 12) + np.maximum(one, other)
        out[:, 1] = _ranks([item[1] for item in first])[given]
        out[:, 2] = _ranks(last)[surname]
        out[:, 3] = born[self.codes("birth")]
        out[:, 4] = _ranks([item[4] for item in placed])[self.codes("places")]
        out[:, 5] = _ranks([item[5] for item in placed])[self.codes("places")]
        return out


def distinct(numbers: Ints) -> Ints:
    """Each of these once, ascending."""
    # numpy's own way puts them through a hash table first: forty times slower than sorting, from a million on.
    found = np.sort(numbers)
    kept: Ints = found[np.append(True, found[1:] != found[:-1])] if len(found) else found
    return kept


def _ranks(texts: Sequence[str]) -> Ints:
    rank = {text: number for number, text in enumerate(sorted(set(texts)))}
    return np.fromiter((rank[text] for text in texts), dtype=np.int64, count=len(texts))


def packed(record: Features) -> bytes:
    """A record's features as bytes for `Records.add_packed` and `unpacked`."""
    return marshal.dumps(record.__getstate__())


def unpacked(data: bytes | bytearray) -> Features:
    """What was `packed`."""
    # As from a pickle: the class's own way of making one costs twice as much.
    record = Features.__new__(Features)
    record.__setstate__(marshal.loads(data))  # noqa: S302  # as `packed` made it
    return record


def of(records: Sequence[Features]) -> Records:
    """These records by column; the same ones where they are so already."""
    return records if isinstance(records, Records) else Records(records)
