"""Raise a patient's epoch when a record that comes, or a version adopted, flags her: however it came.

One flagged source makes all demographics of a person very restricted, so an answer decided before it must not leave:
not before that of a feed, of an import, or of a revision that a steward adopts. This is the one place that says so.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION exchange_record_flagged(record bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF EXISTS (SELECT FROM patients_sourcerecord r
               JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
               WHERE r.id = record AND v.raw ? 'protected') THEN
        PERFORM exchange_raise_persons(ARRAY(
            SELECT l.person_id FROM patients_link l
            WHERE l.source_record_id = record AND l.valid_to IS NULL AND l.kind <> 'rejected'), record);
    END IF;
END
$$;
CREATE FUNCTION exchange_version_came() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM exchange_record_flagged(NEW.source_record_id);
    RETURN NULL;
END
$$;
CREATE FUNCTION exchange_version_adopted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM exchange_record_flagged(NEW.id);
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER exchange_version_came AFTER INSERT ON patients_sourcerecordversion
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.raw ? 'protected' AND NOT NEW.quarantined)
    EXECUTE FUNCTION exchange_version_came();
CREATE CONSTRAINT TRIGGER exchange_version_adopted AFTER UPDATE OF current_version_id ON patients_sourcerecord
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.current_version_id IS DISTINCT FROM NEW.current_version_id)
    EXECUTE FUNCTION exchange_version_adopted();
"""

BACKWARD = """
DROP TRIGGER exchange_version_adopted ON patients_sourcerecord;
DROP TRIGGER exchange_version_came ON patients_sourcerecordversion;
DROP FUNCTION exchange_version_adopted();
DROP FUNCTION exchange_version_came();
DROP FUNCTION exchange_record_flagged(bigint);
"""


class Migration(migrations.Migration):
    dependencies = [("exchange", "0007_release_point"), ("patients", "0010_parting_reviews")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
