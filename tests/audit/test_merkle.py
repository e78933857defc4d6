"""Known answers of RFC 6962 and RFC 8785, and proofs over every small log."""

from __future__ import annotations

import hashlib

import pytest

from hie.audit import merkle
from hie.audit.canonical import NotCanonical, canonical, plain

# The leaves and roots of the reference test vectors of RFC 6962 implementations (certificate-transparency).
ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_rfc_6962(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


def test_inclusion_path_is_that_of_rfc_6962() -> None:
    assert [node.hex() for node in merkle.inclusion_proof(5, LEAVES)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([n])).digest() for n in range(count)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 33])
def test_every_leaf_is_proven_and_no_other_is(size: int) -> None:
    tree = leaves(size)
    top = merkle.root(tree)
    for index, leaf in enumerate(tree):
        path = merkle.inclusion_proof(index, tree)
        assert merkle.verify_inclusion(index, size, leaf, path, top)
        assert not merkle.verify_inclusion(index, size, b"x" * 32, path, top)
        assert not merkle.verify_inclusion(index + 1, size, leaf, path, top) or size == 1
        assert not merkle.verify_inclusion(index, size, leaf, [*path, b"x" * 32], top)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 33])
def test_every_beginning_is_proven_and_no_other_log_is(size: int) -> None:
    tree = leaves(size)
    top = merkle.root(tree)
    for old in range(1, size + 1):
        proof = merkle.consistency_proof(old, tree)
        assert merkle.verify_consistency(old, merkle.root(tree[:old]), size, top, proof)
        assert not merkle.verify_consistency(old, b"x" * 32, size, top, proof)


def test_a_frontier_goes_on_from_what_was_stored() -> None:
    frontier = merkle.Frontier()
    for n, leaf in enumerate(leaves(100)):
        frontier.add(leaf)
        frontier = merkle.Frontier(frontier.size, frontier.nodes)
        assert frontier.root() == merkle.root(leaves(n + 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001]}, '{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}', id="rfc-8785-numbers"),
        pytest.param([1e21, 1e20, 123e-7, 1e-6, 1e-7, -0.0, 0.1, 1.5e300, 5e-324, 9007199254740991], "[1e+21,100000000000000000000,0.0000123,0.000001,1e-7,0,0.1,1.5e+300,5e-324,9007199254740991]", id="ecmascript-numbers"),
        pytest.param({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}, '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"\U0001f600":5,"\ufb33":3}', id="rfc-8785-order"),
        pytest.param("\u20ac$\u000f\nA'B\"\\\"/", '"€$\\u000f\\nA\'B\\"\\\\\\"/"', id="rfc-8785-strings"),
        pytest.param({"a": [True, None, {}]}, '{"a":[true,null,{}]}', id="literals"),
    ],
)  # fmt: skip
def test_canonical_json_is_that_of_rfc_8785(value: object, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize("value", [float("nan"), 2**60, "\ud800", {1, 2}])
def test_what_json_cannot_hold_exactly_is_refused_and_made_plain_instead(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical(value)
    canonical(plain(value))
