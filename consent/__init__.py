"""The consent and governance engine."""
