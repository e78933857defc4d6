"""The use cases and the one door."""
