"""The sequence behind the consent epoch, and a trigger that keeps old versions as they are."""

from django.db import migrations

FORWARD = """
CREATE SEQUENCE consent_epoch_seq;
CREATE FUNCTION consent_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions of a directive are never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER consent_version_append_only BEFORE UPDATE OR DELETE ON consent_consentversion
    FOR EACH ROW EXECUTE FUNCTION consent_refuse_change();
"""

BACKWARD = """
DROP TRIGGER consent_version_append_only ON consent_consentversion;
DROP FUNCTION consent_refuse_change();
DROP SEQUENCE consent_epoch_seq;
"""


class Migration(migrations.Migration):
    dependencies = [("consent", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
