"""Edits of what has no class of its own: types, sequences, views, triggers and the like."""

from __future__ import annotations

from migrations.edited_models import Case

ALL_KINDS = r"""
tables.py
-SCHEMA = Schema(METADATA, FUNCTIONS)
+SCHEMA = Schema(
+    METADATA,
+    FUNCTIONS,
+    before=[
+        "CREATE TYPE mood AS ENUM ('good', 'bad')",
+        "CREATE DOMAIN small AS integer CHECK (VALUE < 10)",
+        "CREATE TYPE pair AS (one integer, two text)",
+        "CREATE SEQUENCE steps AS integer INCREMENT 5 CYCLE",
+        "CREATE SCHEMA more",
+        "CREATE FUNCTION more.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
+    ],
+    after=[
+        "CREATE VIEW ready WITH (security_invoker) AS SELECT tenant_id, id FROM videos",
+        "CREATE VIEW busy WITH (security_invoker) AS SELECT id FROM ready",
+        "GRANT SELECT ON busy TO viral_app",
+        "COMMENT ON VIEW busy IS 'at work'",
+        "CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, count(*) AS videos"
+        " FROM ready GROUP BY tenant_id",
+        "CREATE UNIQUE INDEX ix_totals ON totals (tenant_id)",
+        "CREATE TRIGGER watch BEFORE UPDATE ON videos FOR EACH ROW"
+        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
+        "CREATE STATISTICS both_of ON platform, category FROM videos",
+        "CREATE RULE nothing AS ON DELETE TO trends DO INSTEAD NOTHING",
+    ],
+)
"""
OBJECTS = [
    Case(
        "objects without a class",
        ALL_KINDS,
        needs=[
            "ban-create-domain-with-constraint",
            "materialized-view",
            # Of a view, which shows the rows of a table that is in sight.
            "rows-out-of-sight",
            "sequence",
            "trigger",
            "unknown-statement",
        ],
    ),
    Case("objects without a class less", "", first=ALL_KINDS, needs=["loss-not-counted"]),
    Case(
        "other objects of the same names",
        r"""
tables.py
-SCHEMA = Schema(METADATA, FUNCTIONS)
+SCHEMA = Schema(
+    METADATA,
+    FUNCTIONS,
+    before=[
+        "CREATE TYPE mood AS ENUM ('good', 'bad')",
+        "CREATE DOMAIN small AS integer DEFAULT 5 CHECK (VALUE < 20)",
+        "CREATE TYPE pair AS (one integer, three uuid)",
+        "CREATE SEQUENCE steps AS integer INCREMENT 7",
+        "CREATE SCHEMA more",
+        "CREATE FUNCTION more.one() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
+    ],
+    after=[
+        "CREATE VIEW ready AS SELECT tenant_id, id FROM videos",
+        "CREATE VIEW busy WITH (security_invoker) AS SELECT id, tenant_id FROM ready",
+        "GRANT SELECT ON busy TO viral_app",
+        "COMMENT ON VIEW busy IS 'at work'",
+        "CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, platform, count(*) AS videos"
+        " FROM videos GROUP BY tenant_id, platform",
+        "CREATE UNIQUE INDEX ix_totals ON totals (tenant_id, platform)",
+        "CREATE TRIGGER watch BEFORE UPDATE OF model ON videos FOR EACH ROW"
+        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
+        "CREATE STATISTICS both_of ON platform, category, provider FROM videos",
+        "CREATE RULE nothing AS ON UPDATE TO trends DO INSTEAD NOTHING",
+    ],
+)
""",
        first=ALL_KINDS,
        needs=[
            "ban-alter-domain-with-add-constraint",
            "ban-drop-column",
            "loss-not-counted",
            "materialized-view",
            "sequence",
            "trigger",
            "unknown-statement",
            "view-of-owner",
        ],
    ),
    Case(
        "a label more",
        r"""
tables.py
-SCHEMA = Schema(METADATA, FUNCTIONS)
+SCHEMA = Schema(METADATA, FUNCTIONS, before=["CREATE TYPE mood AS ENUM ('top', 'good', 'bad')"])
""",
        first=r"""
tables.py
-SCHEMA = Schema(METADATA, FUNCTIONS)
+SCHEMA = Schema(METADATA, FUNCTIONS, before=["CREATE TYPE mood AS ENUM ('good', 'bad')"])
""",
        irreversible="type public.mood",
    ),
]
