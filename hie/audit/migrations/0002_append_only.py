"""The log as the database keeps it: partitioned by month, inserted only, queued for the sealer.

`audit_event` is made again as a partitioned table from the columns and indexes that
0001 gave it. Partitions are made by `audit_make_partitions(first_month, months)`,
which the sealer calls ahead of time; what falls outside goes to the default one.

Refusal of change has two layers. A trigger on every table and partition refuses
UPDATE, DELETE and TRUNCATE, superusers included; and the role that migrates gives up
those rights. With a single role that is also the owner, the owner could take the
rights back or drop a trigger: then the seals and signed checkpoints tell. Where
migrations run under a role of their own, grant the application SELECT and INSERT.
"""

from django.db import migrations

FORWARD = r"""
DO $$
DECLARE
    definition text;
    definitions text[];
BEGIN
    SELECT array_agg(pg_get_indexdef(indexrelid)) INTO definitions
      FROM pg_index WHERE indrelid = 'audit_event'::regclass AND NOT indisprimary;
    ALTER TABLE audit_event RENAME TO audit_event_plain;
    CREATE TABLE audit_event (LIKE audit_event_plain INCLUDING DEFAULTS) PARTITION BY RANGE ("at");
    DROP TABLE audit_event_plain;
    ALTER TABLE audit_event ADD CONSTRAINT audit_event_pk PRIMARY KEY (id, "at");
    FOREACH definition IN ARRAY definitions LOOP
        EXECUTE definition;
    END LOOP;
END $$;

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % on % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit_enqueue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_unsealed (event_id, "at") VALUES (NEW.id, NEW."at");
    RETURN NULL;
END $$;

CREATE FUNCTION audit_protect(target regclass, with_rows boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF with_rows THEN
        EXECUTE format('CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()', target);
    END IF;
    EXECUTE format('CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', target);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM PUBLIC, CURRENT_USER', target);
END $$;

CREATE FUNCTION audit_make_partitions(first_month date, months integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    low date := date_trunc('month', first_month)::date;
    name text;
    made integer := 0;
BEGIN
    FOR i IN 1..months LOOP
        name := 'audit_event_' || to_char(low, 'YYYYMM');
        IF to_regclass(name) IS NULL
           AND NOT EXISTS (SELECT 1 FROM audit_event_default
                            WHERE "at" >= low::timestamp AT TIME ZONE 'UTC'
                              AND "at" < (low + interval '1 month') AT TIME ZONE 'UTC') THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF audit_event FOR VALUES FROM (%L) TO (%L)', name,
                           low::text || ' 00:00:00+00', (low + interval '1 month')::date::text || ' 00:00:00+00');
            PERFORM audit_protect(name::regclass, false);
            made := made + 1;
        END IF;
        low := (low + interval '1 month')::date;
    END LOOP;
    RETURN made;
END $$;

CREATE TRIGGER audit_enqueue AFTER INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_enqueue();
CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT;
SELECT audit_protect('audit_event', true);
SELECT audit_protect('audit_event_default', false);
SELECT audit_protect('audit_disclosure', true);
SELECT audit_protect('audit_seal', true);
SELECT audit_protect('audit_checkpoint', true);
SELECT audit_make_partitions(CURRENT_DATE, 4);
"""

REVERSE = r"""
DROP TABLE audit_event;
CREATE TABLE audit_event (id uuid PRIMARY KEY);
DROP FUNCTION audit_make_partitions(date, integer);
DROP FUNCTION audit_protect(regclass, boolean);
DROP FUNCTION audit_enqueue();
DROP FUNCTION audit_refuse_change() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, REVERSE)]
