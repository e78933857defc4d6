"""Code sets: what codes document metadata may carry.

Owns the affinity domain's sets and their modes, and what was decided about codes outside them. Refuses to know
documents, patients or callers: it is asked about an attribute, a code and a scheme, and answers with a verdict.
"""
