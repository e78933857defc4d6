"""The pure decision engine (spec/consent.md 4 to 7)."""
