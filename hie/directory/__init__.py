"""Participants, agreements, endpoints, authorities, keys, people.

Owns who takes part, under which agreement, with which keys, and where it is reached;
every change rises the policy epoch in its own transaction and leaves a history row.
Refuses to know tokens, sessions, patients, documents and consent.
"""
