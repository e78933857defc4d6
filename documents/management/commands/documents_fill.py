"""`./hub documents_fill`: a registry of many documents, for `./hub bench xds`; never in production.

Every patient identifier of an authority that no document hangs on yet gets copies of one that was registered, in one
submission set: each with codes, membership and name for its bytes of its own, all with the bytes of the first. A batch is
one transaction, so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

_BATCH = 1_000
"""Identifiers of one batch."""

# Columns are copied by the name of the table's own row type, and a few laid over.
_COPY = """
WITH model AS (SELECT * FROM documents_documententry WHERE unique_id = %(like)s ORDER BY id LIMIT 1),
wanted AS (
    SELECT p.id AS identifier, p.value, p.authority, n, m.unique_id || '.' || p.id || '.' || n AS unique_id,
           md5('e' || p.id || '-' || n)::uuid AS entry, md5('s' || p.id)::uuid AS own,
           md5('b' || p.id || '-' || n)::uuid AS binary
      FROM model m, patients_patientidentifier p, generate_series(1, %(each)s) n WHERE p.id = ANY(%(identifiers)s)
), names AS (
    INSERT INTO documents_binary (id, blob_id, content_type, owner, created_at)
    SELECT w.binary, b.blob_id, b.content_type, b.owner, now() FROM wanted w JOIN model m ON true
      JOIN documents_binary b ON b.id = m.binary_id
), sets AS (
    INSERT INTO documents_submissionset SELECT r.* FROM (SELECT * FROM wanted WHERE n = 1) w
      JOIN documents_submissionset s ON s.id = (SELECT submission_set_id FROM model),
      LATERAL jsonb_populate_record(s, jsonb_build_object(
        'id', nextval('documents_submissionset_id_seq'), 'entry_uuid', w.own, 'unique_id', w.unique_id || '.1',
        'identifier_keys', jsonb_build_array(w.unique_id || '.1', 'urn:oid:' || w.unique_id || '.1',
            'urn:ietf:rfc:3986|urn:oid:' || w.unique_id || '.1', 'urn:ietf:rfc:3986|'),
        'patient_identifier_id', w.identifier, 'patient_id_value', w.value, 'patient_id_authority', w.authority,
        'metadata', s.metadata || jsonb_build_object('entry_uuid', 'urn:uuid:' || w.own, 'unique_id', w.unique_id || '.1',
            'patient_id', jsonb_build_object('value', w.value, 'authority', w.authority)))) r
    RETURNING id, entry_uuid
), entries AS (
    INSERT INTO documents_documententry SELECT r.* FROM wanted w JOIN sets ON sets.entry_uuid = w.own
      JOIN documents_documententry m ON m.id = (SELECT id FROM model),
      LATERAL jsonb_populate_record(m, jsonb_build_object(
        'id', nextval('documents_documententry_id_seq'), 'entry_uuid', w.entry, 'logical_id', w.entry,
        'unique_id', w.unique_id, 'submission_set_id', sets.id, 'binary_id', w.binary,
        'sorted_at', m.sorted_at - make_interval(hours => w.n),
        'identifier_keys', jsonb_build_array(w.unique_id, 'urn:oid:' || w.unique_id,
            'urn:ietf:rfc:3986|urn:oid:' || w.unique_id, 'urn:ietf:rfc:3986|'),
        'patient_identifier_id', w.identifier, 'patient_id_value', w.value, 'patient_id_authority', w.authority,
        'metadata', m.metadata || jsonb_build_object('entry_uuid', 'urn:uuid:' || w.entry, 'unique_id', w.unique_id,
            'patient_id', jsonb_build_object('value', w.value, 'authority', w.authority)))) r
    RETURNING id, entry_uuid, submission_set_id
), codes AS (
    INSERT INTO documents_entrycode (entry_id, attribute, "position", code, scheme, display)
    SELECT e.id, c.attribute, c."position", c.code, c.scheme, c.display FROM entries e, documents_entrycode c, model m
     WHERE c.entry_id = m.id
), members AS (
    INSERT INTO documents_association SELECT r.* FROM wanted w JOIN entries e ON e.entry_uuid = w.entry, model m
      JOIN documents_association a ON a.target = m.entry_uuid AND a.submission_set_id = m.submission_set_id,
      LATERAL jsonb_populate_record(a, jsonb_build_object(
        'id', nextval('documents_association_id_seq'), 'entry_uuid', md5('a' || w.identifier || '-' || w.n)::uuid,
        'source', w.own, 'target', w.entry, 'submission_set_id', e.submission_set_id)) r
)
SELECT count(*) FROM entries
"""
_BARE = """
SELECT p.id FROM patients_patientidentifier p WHERE p.authority = %s AND p.id > %s
   AND NOT EXISTS (SELECT 1 FROM documents_documententry e WHERE e.patient_identifier_id = p.id) ORDER BY p.id LIMIT %s
"""


class Command(BaseCommand):
    help = "Fills the registry with copies of one document, and prints how many and how long as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--like", required=True, help="uniqueId of the document that is copied")
        parser.add_argument("--authority", required=True, help="whose patients get documents, an OID")
        parser.add_argument("--each", type=int, default=10, help="documents of a patient identifier")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("the registry of a production hub holds what was registered, nothing else")
        began, made, last = time.perf_counter(), 0, 0
        with connection.cursor() as cursor:
            while True:
                cursor.execute(_BARE, [options["authority"], last, _BATCH])
                identifiers = [pk for (pk,) in cursor.fetchall()]
                if not identifiers:
                    break
                last = identifiers[-1]
                cursor.execute(_COPY, {"like": options["like"], "each": options["each"], "identifiers": identifiers})
                made += int(cursor.fetchone()[0])
            # As a registry is that grew over years: else whoever asks first shares the machine with that work.
            cursor.execute(
                "VACUUM (ANALYZE) documents_documententry, documents_submissionset, documents_association,"
                " documents_entrycode, documents_binary"
            )
        took = round(time.perf_counter() - began, 1)
        self.stdout.write(json.dumps({"documents": made, "seconds": took}))
