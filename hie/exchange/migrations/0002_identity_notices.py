"""Subscriptions, and an outbox row a receiver with every identity event, written in the event's own transaction."""

import uuid

from django.db import migrations, models

# The person's own row is locked by who changes it, so rows of one person stand in the order of what happened.
FORWARD = """
CREATE FUNCTION exchange_identity_notices() RETURNS trigger LANGUAGE plpgsql AS $$
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
   WHERE e.kind NOT IN ('overlay-suspected', 'survivorship-changed')
   ORDER BY e.seq;
  RETURN NULL;
END $$;
CREATE TRIGGER exchange_identity_notices AFTER INSERT ON patients_identityevent
  REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION exchange_identity_notices();
"""
BACKWARD = """
DROP TRIGGER exchange_identity_notices ON patients_identityevent;
DROP FUNCTION exchange_identity_notices();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("exchange", "0001_initial"),
        ("patients", "0001_initial"),
        ("directory", "0001_initial"),
        ("outbox", "0002_receivers"),
    ]

    operations = [
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("participant_id", models.TextField()),
                ("client_id", models.TextField(db_index=True)),
                ("caller", models.JSONField()),
                ("criteria", models.TextField()),
                ("endpoint", models.TextField()),
                ("resource", models.JSONField()),
                (
                    "status",
                    models.TextField(
                        choices=[("active", "Active"), ("error", "Error"), ("off", "Off")], default="active"
                    ),
                ),
                ("error", models.TextField(blank=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "active")), fields=["id"], name="exchange_subscription_active"
                    )
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
