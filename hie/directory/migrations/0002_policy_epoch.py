"""The policy epoch rises with every change to a table that policy reads, in the same transaction."""

from django.db import migrations

TABLES = ("participant", "agreement", "assigningauthority", "endpoint", "clientkey", "certificate")

FORWARD = """
CREATE SEQUENCE directory_policy_epoch_seq;

CREATE FUNCTION directory_bump_epoch() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    INSERT INTO directory_policyepoch (id, value) VALUES (1, nextval('directory_policy_epoch_seq'))
    ON CONFLICT (id) DO UPDATE SET value = nextval('directory_policy_epoch_seq')
    RETURNING value
$$;

CREATE FUNCTION directory_epoch_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM directory_bump_epoch();
    RETURN NULL;
END
$$;
""" + "".join(
    f"""
CREATE TRIGGER directory_{table}_epoch AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON directory_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION directory_epoch_trigger();
"""
    for table in TABLES
)

BACKWARD = (
    "".join(f"DROP TRIGGER directory_{table}_epoch ON directory_{table};\n" for table in TABLES)
    + """
DROP FUNCTION directory_epoch_trigger();
DROP FUNCTION directory_bump_epoch();
DROP SEQUENCE directory_policy_epoch_seq;
"""
)


class Migration(migrations.Migration):
    dependencies = [("directory", "0001_initial")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL("SELECT directory_bump_epoch()", migrations.RunSQL.noop),
    ]
