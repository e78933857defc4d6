"""Events may be deleted at the end of their time: what is older than six years and was announced, and nothing else.

Whoever asks: a trigger holds it. Seals, nodes, checkpoints and announcements stay refused. Where migrations run under a
role of their own, grant the application DELETE on `audit_event` and `audit_disclosure` as well as SELECT and INSERT on
`audit_retired`; without it nothing is removed.
"""

from django.db import migrations, models

FORWARD = """
SELECT audit_protect('audit_retired', true);
CREATE FUNCTION audit_refuse_early_end() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    event uuid;
BEGIN
    IF TG_OP = 'DELETE' AND OLD."at" < now() - interval '6 years' THEN
        IF TG_TABLE_NAME = 'audit_disclosure' THEN event := OLD.event_id; ELSE event := OLD.id; END IF;
        IF EXISTS (SELECT 1 FROM audit_seal s JOIN audit_retired r ON r.last >= s.seq AND r.first <= s.seq
                    WHERE s.event_id = event) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: % on % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER audit_no_change ON audit_event;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_early_end();
DROP TRIGGER audit_no_change ON audit_disclosure;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_disclosure
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_early_end();
GRANT DELETE ON audit_event, audit_disclosure TO CURRENT_USER;
"""
BACKWARD = """
REVOKE DELETE ON audit_event, audit_disclosure FROM CURRENT_USER;
DROP TRIGGER audit_no_change ON audit_disclosure;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_disclosure
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
DROP TRIGGER audit_no_change ON audit_event;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
DROP FUNCTION audit_refuse_early_end();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_figures")]
    operations = [
        migrations.CreateModel(
            name="AuditRetired",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(verbose_name="event that says so")),
                ("first", models.BigIntegerField()),
                ("last", models.BigIntegerField()),
            ],
            options={
                "db_table": "audit_retired",
                "indexes": [
                    models.Index(fields=["last", "first"], name="audit_retired_place"),
                    models.Index(fields=["event_id"], name="audit_retired_event"),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
