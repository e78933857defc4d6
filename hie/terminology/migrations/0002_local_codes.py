"""Codes that came and that no set knew, with who sent them and what was decided; a mapping raises the policy epoch,
since labels may depend on it.
"""

import django.db.models.deletion
from django.db import migrations, models

# Only what counts raises it: to collect codes is no change of policy.
FORWARD = """
CREATE FUNCTION terminology_policy_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM directory_bump_epoch();
    RETURN NULL;
END
$$;
CREATE TRIGGER terminology_local_code_mapped_epoch AFTER UPDATE ON terminology_localcode
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state AND 'mapped' IN (OLD.state, NEW.state))
    EXECUTE FUNCTION terminology_policy_epoch();
CREATE TRIGGER terminology_local_code_gone_epoch AFTER DELETE ON terminology_localcode
    FOR EACH ROW WHEN (OLD.state = 'mapped') EXECUTE FUNCTION terminology_policy_epoch();
"""

BACKWARD = """
DROP TRIGGER terminology_local_code_gone_epoch ON terminology_localcode;
DROP TRIGGER terminology_local_code_mapped_epoch ON terminology_localcode;
DROP FUNCTION terminology_policy_epoch();
"""


class Migration(migrations.Migration):
    dependencies = [("terminology", "0001_initial"), ("directory", "0002_policy_epoch")]

    operations = [
        migrations.CreateModel(
            name="LocalCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("attribute", models.TextField(blank=True)),
                ("scheme", models.TextField(blank=True)),
                ("code", models.TextField()),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("waiting", "waits"),
                            ("mapped", "means another code"),
                            ("added", "added to its set"),
                            ("local", "local, and stays so"),
                        ],
                        default="waiting",
                    ),
                ),
                ("met", models.PositiveBigIntegerField(default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("to_scheme", models.TextField(blank=True, default="")),
                ("to_code", models.TextField(blank=True, default="")),
                ("to_display", models.TextField(blank=True, default="")),
                ("raises", models.BooleanField(default=False)),
                (
                    "proposed",
                    models.TextField(
                        blank=True, choices=[("map", "to map it"), ("end", "to end its mapping")], default=""
                    ),
                ),
                ("proposed_by", models.TextField(blank=True, default="")),
                ("proposed_account", models.BigIntegerField(blank=True, null=True)),
                ("proposed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting"), models.Q(("proposed", ""), _negated=True), _connector="OR"),
                        fields=["first_at", "id"],
                        name="terminology_local_code_waits",
                    ),
                    models.Index(
                        condition=models.Q(("state", "mapped")), fields=["code"], name="terminology_local_code_mapped"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("attribute", "scheme", "code"), name="terminology_local_code_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("to_code", ""), _negated=True),
                            models.Q(
                                models.Q(("state", "mapped"), _negated=True),
                                models.Q(("proposed", "map"), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="terminology_local_code_target",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CodeSender",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sender", models.TextField()),
                ("met", models.PositiveBigIntegerField(default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "local_code",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="senders",
                        to="terminology.localcode",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["sender"], name="terminology_code_sender")],
                "constraints": [
                    models.UniqueConstraint(fields=("local_code", "sender"), name="terminology_code_sender_once")
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
