"""The keys of the log as operators write them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hie.audit import keys

KEY = bytes([0xFB, 0xFF, 0xBF]) * 10 + b"ab"  # has characters in which the two alphabets of base64 differ


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_key_is_read_in_either_alphabet(encode, tmp_path: Path) -> None:
    found = keys._wrap_keys(f"k1:{encode(KEY).decode()}", tmp_path)
    assert found.keys == {"k1": KEY}


@pytest.mark.parametrize("text", ["k1:short", "k1:!!!", ":" + base64.b64encode(KEY).decode()])
def test_a_key_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured):
        keys._wrap_keys(text, tmp_path)
