import django.db.models.deletion
from django.db import migrations, models


def renamed(table: str, old: str, new: str) -> migrations.RunSQL:
    """An index, or the constraint that it is of, under the name that the model gives it: nothing is built anew."""
    if old.endswith("_key"):
        return migrations.RunSQL(
            f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}",
            f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {old}",
        )
    return migrations.RunSQL(f"ALTER INDEX {old} RENAME TO {new}", f"ALTER INDEX {new} RENAME TO {old}")


def dropped(table: str, name: str, columns: str) -> migrations.RunSQL:
    """An index that no statement uses."""
    return migrations.RunSQL(f"DROP INDEX IF EXISTS {name}", f"CREATE INDEX {name} ON {table} ({columns})")


ENTRY, SET, BLOB, CODE = (
    f"documents_{name}" for name in ("documententry", "submissionset", "blob", "entrycode")
)


class Migration(migrations.Migration):
    """Fewer indexes where documents are registered: those for LIKE, which nobody asks, and one that another covers.

    The index of codes is built anew, with the table locked: about a minute and a half for ten million entries.
    """

    dependencies = [("documents", "0005_kept_documents")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                dropped(ENTRY, "documents_documententry_unique_id_9da456d4_like", "unique_id text_pattern_ops"),
                dropped(ENTRY, "documents_documententry_custodian_f363a9d6_like", "custodian text_pattern_ops"),
                dropped(SET, "documents_submissionset_unique_id_c752de75_like", "unique_id text_pattern_ops"),
                dropped(BLOB, "documents_blob_storage_key_3066bc85_like", "storage_key text_pattern_ops"),
                dropped(BLOB, "documents_blob_key_id_14535fc2_like", "key_id text_pattern_ops"),
                dropped(CODE, "documents_entrycode_entry_id_4ecd30cb", "entry_id"),
                renamed(ENTRY, "documents_documententry_unique_id_9da456d4", "documents_entry_unique_id"),
                renamed(ENTRY, "documents_documententry_custodian_f363a9d6", "documents_entry_custodian"),
                renamed(SET, "documents_submissionset_unique_id_key", "documents_set_unique_id"),
                renamed(BLOB, "documents_blob_storage_key_key", "documents_blob_storage_key"),
                renamed(BLOB, "documents_blob_key_id_14535fc2", "documents_blob_key_id"),
                migrations.RunSQL(
                    f"DROP INDEX documents_entry_code_search;"
                    f" CREATE INDEX documents_entry_code_search ON {CODE} (attribute, code, scheme)",
                    f"DROP INDEX documents_entry_code_search;"
                    f" CREATE INDEX documents_entry_code_search ON {CODE} (attribute, code, scheme, entry_id)",
                ),
            ],
            state_operations=[
                migrations.RemoveIndex("entrycode", "documents_entry_code_search"),
                migrations.AlterField("blob", "key_id", models.TextField()),
                migrations.AlterField("blob", "storage_key", models.TextField()),
                migrations.AlterField(
                    "documententry",
                    "custodian",
                    models.TextField(help_text="participant that answers for the document"),
                ),
                migrations.AlterField("documententry", "unique_id", models.TextField()),
                migrations.AlterField(
                    "entrycode",
                    "entry",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="codes",
                        to="documents.documententry",
                    ),
                ),
                migrations.AlterField("submissionset", "unique_id", models.TextField()),
                migrations.AddIndex("blob", models.Index(fields=["key_id"], name="documents_blob_key_id")),
                migrations.AddIndex("documententry", models.Index(fields=["unique_id"], name="documents_entry_unique_id")),
                migrations.AddIndex("documententry", models.Index(fields=["custodian"], name="documents_entry_custodian")),
                migrations.AddIndex(
                    "entrycode", models.Index(fields=["attribute", "code", "scheme"], name="documents_entry_code_search")
                ),
                migrations.AddConstraint(
                    "blob", models.UniqueConstraint(fields=("storage_key",), name="documents_blob_storage_key")
                ),
                migrations.AddConstraint(
                    "submissionset", models.UniqueConstraint(fields=("unique_id",), name="documents_set_unique_id")
                ),
            ],
        ),
    ]
