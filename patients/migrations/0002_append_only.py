"""Identity events and record versions cannot be changed or deleted, whoever asks."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION patients_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER patients_identityevent_append_only BEFORE UPDATE OR DELETE ON patients_identityevent
  FOR EACH ROW EXECUTE FUNCTION patients_refuse_change();
CREATE TRIGGER patients_sourcerecordversion_append_only BEFORE UPDATE OR DELETE ON patients_sourcerecordversion
  FOR EACH ROW EXECUTE FUNCTION patients_refuse_change();
"""
BACKWARD = """
DROP TRIGGER patients_sourcerecordversion_append_only ON patients_sourcerecordversion;
DROP TRIGGER patients_identityevent_append_only ON patients_identityevent;
DROP FUNCTION patients_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("patients", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
