"""Nodes of the Merkle tree that make proofs cheap, and the indexes that a search of the whole log needs.

Indexes are built without holding writers up, those of the partitioned table partition by partition and then joined
under that of the whole table. Every step can run again: an index that an interrupted run left invalid is dropped and
built anew. The nodes of a log that was sealed before are written by the sealer at its next start.
"""

from django.db import migrations, models

EVENT_INDEXES = [
    models.Index(fields=["request_id"], name="audit_event_request", condition=~models.Q(request_id="")),
    models.Index(
        fields=["patient_identifier", "-at"], name="audit_event_identifier", condition=~models.Q(patient_identifier="")
    ),
    models.Index(fields=["purpose", "-at"], name="audit_event_purpose"),
    models.Index(fields=["outcome", "-at"], name="audit_event_outcome", condition=models.Q(outcome__gt=0)),
]
DISCLOSURE_INDEXES = [
    models.Index(fields=["unique_id", "-at"], name="audit_disclosure_unique", condition=~models.Q(unique_id="")),
    models.Index(fields=["rule", "-at"], name="audit_disclosure_rule"),
    models.Index(fields=["custodian", "-at"], name="audit_disclosure_custodian"),
    models.Index(fields=["person_id", "document_id", "-at"], name="audit_disclosure_person"),
]
EVENT = {
    "audit_event_request": "(request_id) WHERE request_id <> ''",
    "audit_event_identifier": "(patient_identifier, \"at\" DESC) WHERE patient_identifier <> ''",
    "audit_event_purpose": '(purpose, "at" DESC)',
    "audit_event_outcome": '(outcome, "at" DESC) WHERE outcome > 0',
}
DISCLOSURE = {
    "audit_disclosure_unique": "(unique_id, \"at\" DESC) WHERE unique_id <> ''",
    "audit_disclosure_rule": '(rule, "at" DESC)',
    "audit_disclosure_custodian": '(custodian, "at" DESC)',
    "audit_disclosure_person": '(person_id, document_id, "at" DESC)',
}
NODES = """
DO $$ BEGIN
    IF to_regclass('audit_node') IS NULL THEN
        CREATE TABLE audit_node (
            level smallint NOT NULL, index bigint NOT NULL, hash bytea NOT NULL,
            CONSTRAINT audit_node_pk PRIMARY KEY (level, index)
        );
        PERFORM audit_protect('audit_node', true);
    END IF;
END $$
"""


def build(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_event'::regclass ORDER BY 1"
        )
        partitions = [name for (name,) in cursor.fetchall()]
        for name, columns in DISCLOSURE.items():
            _index(cursor, name, "audit_disclosure", columns)
        for name, columns in EVENT.items():
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY audit_event {columns}")
            for partition in partitions:
                part = f"{name}_{partition.removeprefix('audit_event_')}"
                _index(cursor, part, partition, columns)
                cursor.execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")


def _index(cursor, name, table, columns):
    cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
    row = cursor.fetchone()
    if row is not None and not row[0]:
        cursor.execute(f"DROP INDEX {name}")
    cursor.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {columns}")


def drop(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for name in (*EVENT, *DISCLOSURE):
            cursor.execute(f"DROP INDEX IF EXISTS {name}")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0002_append_only")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(build, drop)],
            state_operations=[
                *(migrations.AddIndex("AuditEvent", index) for index in EVENT_INDEXES),
                *(migrations.AddIndex("Disclosure", index) for index in DISCLOSURE_INDEXES),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(NODES, "DROP TABLE audit_node")],
            state_operations=[
                migrations.CreateModel(
                    name="AuditNode",
                    fields=[
                        ("pk", models.CompositePrimaryKey("level", "index", blank=True, editable=False, primary_key=True, serialize=False)),
                        ("level", models.SmallIntegerField()),
                        ("index", models.BigIntegerField()),
                        ("hash", models.BinaryField()),
                    ],
                    options={"db_table": "audit_node", "ordering": ["level", "index"]},
                ),
            ],
        ),
    ]
