"""Participants, agreements, endpoints, authorities, keys, people."""
