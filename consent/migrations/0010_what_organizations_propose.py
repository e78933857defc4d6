"""Agreements, places and the end of suspensions are proposed as well.

On the way back the rows stay as they are; the hub of before lists them and can decide none of these kinds.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0009_governed_versions"),
    ]
    operations = [
        migrations.AlterField(
            model_name="policyproposal",
            name="kind",
            field=models.TextField(
                choices=[
                    ("jurisdiction", "law of a place"),
                    ("code-table", "code table"),
                    ("release-policy", "release policy of an organization"),
                    ("agreement", "agreement of an organization"),
                    ("placement", "place and law of an organization"),
                    ("reinstatement", "end of an organization's suspension"),
                ]
            ),
        ),
    ]
