"""The sandbox: invented people, organizations and documents, loaded through the public interfaces.

Imported by nothing of the hub; speaks only what a stranger could speak (tokens, FHIR, MLLP, `./hub` commands).
"""
