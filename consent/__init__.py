"""The consent and governance engine.

Owns: directives and their versions, the decision procedure, labels by rule, proxy and
emergency grants, jurisdictions, code tables, and the words a decision is explained in.
Refuses to know: patients' and documents' tables, wire formats other than FHIR Consent,
who is logged in, and how a refusal looks on a face.
"""
