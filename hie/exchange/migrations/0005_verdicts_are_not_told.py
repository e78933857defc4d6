"""A steward's verdict that moved nothing (event kind ``decided``) is no news to receivers."""

from django.db import migrations

_NOTICES = """
CREATE OR REPLACE FUNCTION exchange_identity_notices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO outbox_outboxmessage (topic, key, receiver, payload, created_at, next_attempt_at, attempts, last_error)
  SELECT 'identities', e.person_id::text, r.name, jsonb_build_object('seq', e.seq), now(), now(), 0, ''
    FROM fresh e
    JOIN (
      SELECT 'subscription/' || s.id AS name, true AS everything
        FROM exchange_subscription s
       WHERE s.status = 'active' AND (s.ends_at IS NULL OR s.ends_at > now())
      UNION ALL
      SELECT 'mllp/' || d.participant_id || '/' || d.url, false FROM directory_endpoint d WHERE d.kind = 'mllp'
    ) r ON r.everything OR e.kind NOT IN ('created', 'revised')
   WHERE e.kind NOT IN (%s)
   ORDER BY e.seq;
  RETURN NULL;
END $$;
"""
FORWARD = _NOTICES % "'overlay-suspected', 'survivorship-changed', 'decided'"
BACKWARD = _NOTICES % "'overlay-suspected', 'survivorship-changed'"


class Migration(migrations.Migration):
    dependencies = [("exchange", "0004_query_told")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
