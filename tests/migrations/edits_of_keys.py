"""Edits of constraints and indexes, and what becomes of each in a database with rows."""

from __future__ import annotations

from migrations.edited_models import Case

CONSTRAINTS = [
    Case(
        "other checks",
        r"""
publishing.py
-        CheckConstraint("status <> 'completed' OR video_url IS NOT NULL", name="completed"),
-        CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        CheckConstraint("status <> 'completed' OR width > 0 OR video_url <> ''", name="completed"),
+        CheckConstraint("model <> ''", name="model"),
""",
    ),
    Case(
        "a check that rows break",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        CheckConstraint("length(model) < 3", name="model"),
""",
        lost="rows of public.videos that break ck_videos_model: 6",
        is_hopeless=True,
    ),
    Case(
        "other keys",
        r"""
publishing.py
-        UniqueConstraint("tenant_id", "provider", "provider_job_id"),
+        UniqueConstraint(
+            "tenant_id", "provider", "provider_job_id", postgresql_nulls_not_distinct=True
+        ),
@@
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        UniqueConstraint("tenant_id", "id", "model", deferrable=True),
@@
-        UniqueConstraint("tenant_id", "account_id", "platform_post_id"),
""",
    ),
    Case(
        "a key that rows break",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        UniqueConstraint("tenant_id", "model"),
""",
        lost="keys of public.videos (tenant_id, model) that stand more than once: 2",
        is_hopeless=True,
    ),
    Case(
        "another primary key",
        r"""
learning.py
-    applied_no: Mapped[int] = mapped_column(BigInteger)
+    applied_no: Mapped[int] = mapped_column(BigInteger, primary_key=True)
""",
    ),
    Case(
        "another primary key that is pointed at",
        r"""
content.py
-    origin: Mapped[str] = mapped_column(server_default="generated")
+    origin: Mapped[str] = mapped_column(primary_key=True, server_default="generated")
@@
-        UniqueConstraint("tenant_id", "source_platform", "source_id"),
+        UniqueConstraint("tenant_id", "source_platform", "source_id"),
+        UniqueConstraint("tenant_id", "id"),
""",
        refused="cannot drop constraint pk_concepts",
    ),
    Case(
        "other references",
        r"""
publishing.py
-            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], ondelete="CASCADE"
+            ["tenant_id", "concept_id"], ["concepts.tenant_id", "concepts.id"], deferrable=True
@@
-        ForeignKeyConstraint(["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"]),
content.py
-        Index(None, "tenant_id", "is_favorite"),
+        ForeignKeyConstraint(
+            ["tenant_id", "user_id"],
+            ["memberships.tenant_id", "memberships.user_id"],
+            name="again",
+        ),
""",
    ),
    Case(
        "a reference that rows break",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        ForeignKeyConstraint(["tenant_id", "id"], ["concepts.tenant_id", "concepts.id"]),
""",
        lost="rows of public.videos that point nowhere: 6",
        is_hopeless=True,
    ),
    Case(
        "an exclusion",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        pg.ExcludeConstraint(("provider_job_id", "="), using="btree", name="apart"),
""",
    ),
]

INDEXES = [
    Case(
        "indexes more and less",
        r"""
publishing.py
-        Index(None, "tenant_id", "status"),
@@
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        Index(None, "tenant_id", "model"),
+        Index("ix_videos_lower", text("lower(model)")),
+        Index("ix_videos_apart", "tenant_id", text("provider_job_id DESC"), unique=True),
""",
    ),
    Case(
        "a unique index that rows break",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        Index(
+            "ix_videos_one",
+            "tenant_id",
+            text("lower(model) text_pattern_ops"),
+            unique=True,
+            postgresql_where=text("attempts = 0"),
+        ),
""",
        lost="keys of public.videos (tenant_id, lower(model)) that stand more than once: 2",
        is_hopeless=True,
    ),
    Case(
        "a unique index of rows that hold it",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        Index(
+            "ix_videos_one",
+            "tenant_id",
+            "model",
+            unique=True,
+            postgresql_where=text("attempts > 0"),
+        ),
""",
    ),
    Case(
        "other indexes of the same names",
        r"""
operations.py
-            "place",
-            text("priority DESC"),
+            "place",
+            "priority",
@@
             "place",
-            postgresql_where=text("status = 'running'"),
+            postgresql_where=text("status <> 'pending'"),
results.py
-            postgresql_include=["category", "engagement_rate"],
+            postgresql_include=["category"],
publishing.py
-        Index(None, "tenant_id", "status"),
+        Index(None, "tenant_id", "status", postgresql_using="brin"),
@@
-        Index(None, "tenant_id", "variant_id"),
+        Index(None, "tenant_id", "variant_id", postgresql_with={"fillfactor": 50}),
""",
    ),
]

PARTITIONED = [
    Case(
        "parts of a partitioned table",
        r"""
results.py
-    age_s: Mapped[int | None] = mapped_column(BigInteger)
+    place: Mapped[str] = mapped_column(server_default="here")
+    age_s: Mapped[int] = mapped_column(BigInteger)
@@
-        Index(None, "tenant_id", "platform", "snapshot_at"),
+        Index(None, "tenant_id", "source"),
+        Index("ix_analytics_snapshots_tenant_id_platform_snapshot_at", "tenant_id", "platform"),
+        CheckConstraint("views < 1000000000", name="views"),
+        UniqueConstraint("tenant_id", "snapshot_at", "video_id"),
+        ForeignKeyConstraint(
+            ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], name="again"
+        ),
""",
    ),
    Case(
        "a reference of a partitioned table that rows break",
        r"""
results.py
         Index(None, "tenant_id", "platform", "snapshot_at"),
+        ForeignKeyConstraint(["tenant_id", "id"], ["videos.tenant_id", "videos.id"]),
""",
        lost="rows of public.analytics_snapshots that point nowhere: 2",
        is_hopeless=True,
    ),
    Case(
        "a column of a partitioned table less",
        r"""
results.py
-    source: Mapped[str] = mapped_column(server_default="api")
@@
-        CheckConstraint("source IN ('api', 'manual')", name="source"),
""",
        lost="values of public.analytics_snapshots.source: 2",
    ),
]
