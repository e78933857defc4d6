"""Tasks of the desk with each act about them (append only), and messages that were put aside by one."""

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION exchange_refuse_desk_act_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'acts of a task are never changed or removed' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER exchange_desk_act_append_only BEFORE UPDATE OR DELETE ON exchange_desktaskact
    FOR EACH ROW EXECUTE FUNCTION exchange_refuse_desk_act_change();
"""

BACKWARD = """
DROP TRIGGER exchange_desk_act_append_only ON exchange_desktaskact;
DROP FUNCTION exchange_refuse_desk_act_change();
"""


class Migration(migrations.Migration):
    dependencies = [("exchange", "0012_concerns_and_notices")]

    operations = [
        migrations.CreateModel(
            name="DeskTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("queue", models.TextField()),
                ("key", models.TextField()),
                ("until_at", models.DateTimeField(blank=True, null=True)),
                ("settled", models.BooleanField(default=False)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("settled", True), ("until_at__isnull", False), _connector="OR"),
                        fields=["queue"],
                        name="exchange_desk_task_off",
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("queue", "key"), name="exchange_desk_task_once")],
            },
        ),
        migrations.CreateModel(
            name="DeskTaskAct",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.TextField()),
                ("actor", models.TextField()),
                ("reason", models.TextField()),
                ("more", models.JSONField(default=dict)),
                ("until_at", models.DateTimeField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="acts",
                        to="exchange.desktask",
                    ),
                ),
            ],
            options={
                "verbose_name": "act of a task",
                "indexes": [models.Index(fields=["task", "id"], name="exchange_desk_task_act_of")],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.AddField(
            model_name="inboundmessage",
            name="aside",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="exchange.desktask",
            ),
        ),
    ]
