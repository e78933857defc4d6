"""The policy epoch rises at the instants from which stored versions count, too; and such versions are never changed.

A version that counts from a later instant raises the epoch when it is stored, like any change, and leaves that instant
with it. From then on the epoch is its number and how many of its instants have passed (`directory_epoch_at`): it rises
at each of them for every reader at once, and nobody has to write anything at that moment. The numbers that it will be by
itself are drawn from the sequence beforehand, so none of them is ever given for something else.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

FORWARD = """
DROP FUNCTION directory_bump_epoch();

CREATE FUNCTION directory_bump_epoch(due timestamptz[] DEFAULT '{}') RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    waiting timestamptz[];
    given bigint;
BEGIN
    INSERT INTO directory_policyepoch (id, value, instants) VALUES (1, 0, '{}') ON CONFLICT (id) DO NOTHING;
    -- Writers queue here; what is read and drawn behind it is read and drawn by one at a time.
    PERFORM FROM directory_policyepoch WHERE id = 1 FOR UPDATE;
    SELECT ARRAY(SELECT DISTINCT i FROM unnest(p.instants || due) AS i WHERE i > clock_timestamp() ORDER BY i)
    INTO waiting FROM directory_policyepoch p WHERE p.id = 1;
    SELECT min(drawn.number) INTO given
    FROM (SELECT nextval('directory_policy_epoch_seq') AS number FROM generate_series(0, cardinality(waiting))) AS drawn;
    UPDATE directory_policyepoch SET value = given, instants = waiting WHERE id = 1;
    RETURN given;
END
$$;

CREATE FUNCTION directory_epoch_at(at timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT p.value + width_bucket(at, p.instants) FROM directory_policyepoch p WHERE p.id = 1), 0)
$$;

CREATE FUNCTION directory_expect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM directory_bump_epoch(ARRAY[NEW.effective_from]);
    RETURN NULL;
END
$$;
CREATE TRIGGER directory_releasepolicy_instant AFTER INSERT ON directory_releasepolicy
    FOR EACH ROW WHEN (NEW.effective_from > now()) EXECUTE FUNCTION directory_expect();

-- No name of an account holds a space.
UPDATE directory_releasepolicy
SET recorded_by = split_part(recorded_by, ' and ', 1), approved_by = split_part(recorded_by, ' and ', 2)
WHERE recorded_by LIKE '% and %';

CREATE FUNCTION directory_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'versions of policy are never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER directory_releasepolicy_append_only BEFORE UPDATE OR DELETE ON directory_releasepolicy
    FOR EACH ROW EXECUTE FUNCTION directory_refuse_change();
CREATE TRIGGER directory_releasepolicy_no_truncate BEFORE TRUNCATE ON directory_releasepolicy
    FOR EACH STATEMENT EXECUTE FUNCTION directory_refuse_change();

SELECT directory_bump_epoch(ARRAY(SELECT effective_from FROM directory_releasepolicy WHERE effective_from > now()));
"""

BACKWARD = """
DROP TRIGGER directory_releasepolicy_no_truncate ON directory_releasepolicy;
DROP TRIGGER directory_releasepolicy_append_only ON directory_releasepolicy;
DROP FUNCTION directory_refuse_change();
DROP TRIGGER directory_releasepolicy_instant ON directory_releasepolicy;
DROP FUNCTION directory_expect();
DROP FUNCTION directory_epoch_at(timestamptz);
DROP FUNCTION directory_bump_epoch(timestamptz[]);
CREATE FUNCTION directory_bump_epoch() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    INSERT INTO directory_policyepoch (id, value) VALUES (1, nextval('directory_policy_epoch_seq'))
    ON CONFLICT (id) DO UPDATE SET value = nextval('directory_policy_epoch_seq')
    RETURNING value
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("directory", "0004_release_policy_versions")]
    operations = [
        migrations.AddField(
            model_name="policyepoch",
            name="instants",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.DateTimeField(), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="releasepolicy",
            name="approved_by",
            field=models.TextField(blank=True, default=""),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
