"""Codes that people copy from a paper or a screen: signs that nobody mistakes for one another, kept as digests alone."""

from __future__ import annotations

import hashlib
import secrets

SIGNS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def new_code(signs: int = 12) -> str:
    """A code of so many of 31 signs (12: 59 bits), in groups of four, as it is told."""
    code = "".join(secrets.choice(SIGNS) for _ in range(signs))
    return "-".join(code[at : at + 4] for at in range(0, signs, 4))


def digest(use: str, code: str) -> bytes:
    """SHA-256 over what the code is for and the code, however it is typed: in small letters, with blanks or strokes."""
    plain = "".join(sign for sign in code.upper() if sign.isascii() and sign.isalnum())
    return hashlib.sha256(f"{use}:{plain}".encode()).digest()
