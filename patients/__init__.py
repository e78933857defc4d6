"""The master patient index: who is who across organizations (spec/mpi.md).

Owns source records and their versions, identifiers, persons, links, identity events, review,
blocking and match models. Refuses to know documents, consent, and the wire formats of the faces:
others hang their rows on `PatientIdentifier` and ask `patients.identifiers` for the person.
"""
