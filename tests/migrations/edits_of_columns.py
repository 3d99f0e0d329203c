"""Edits of tables and columns, and what becomes of each in a database with rows."""

from __future__ import annotations

from migrations.edited_models import Case

TABLES = [
    Case(
        "a table with all its parts",
        r'''
publishing.py
+class Review(Identified, TenantOwned, Updated, Base):
+    """What a person says of a video."""
+
+    __tablename__ = "reviews"
+
+    video_id: Mapped[UUID]
+    stars: Mapped[int] = mapped_column(server_default="3", comment="One to five.")
+    words: Mapped[str]
+    details: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
+    parent_id: Mapped[UUID | None]
+
+    __table_args__ = (
+        ForeignKeyConstraint(
+            ["tenant_id", "video_id"], ["videos.tenant_id", "videos.id"], ondelete="CASCADE"
+        ),
+        ForeignKeyConstraint(["tenant_id", "parent_id"], ["reviews.tenant_id", "reviews.id"]),
+        UniqueConstraint("tenant_id", "video_id", "words"),
+        Index(None, "tenant_id", "video_id"),
+        Index("ix_reviews_bad", "tenant_id", postgresql_where=text("stars < 2")),
+        CheckConstraint("stars BETWEEN 1 AND 5", name="stars"),
+        tenant_only(),
+        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
+        Grant(READONLY, "SELECT", columns=("id", "tenant_id", "stars")),
+        {"comment": "Words about videos."},
+    )
+
+
 class SocialAccount(Identified, TenantOwned, Updated, Base):
''',
    ),
    Case(
        "a table less",
        r"""
tenants.py
-class AuditEntry(Identified, TenantOwned, Created, Base):
+class AuditEntry:
""",
        lost="rows of public.audit_log: 2",
    ),
    Case(
        "a renamed table",
        r"""
content.py
-    __tablename__ = "concept_variants"
+    __tablename__ = "variants"
results.py
-            ["tenant_id", "variant_id"], ["concept_variants.tenant_id", "concept_variants.id"]
+            ["tenant_id", "variant_id"], ["variants.tenant_id", "variants.id"]
publishing.py
-            ["tenant_id", "variant_id"], ["concept_variants.tenant_id", "concept_variants.id"]
+            ["tenant_id", "variant_id"], ["variants.tenant_id", "variants.id"]
""",
        renames=["concept_variants=variants"],
    ),
    Case(
        "storage",
        r"""
content.py
         CheckConstraint("failures >= 0", name="failures"),
         open_to_all(),
         system_only(),
         Grant(APP, "SELECT"),
         Grant(READONLY, "SELECT"),
         Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
+        {"postgresql_with": {"fillfactor": 50}},
""",
    ),
    Case(
        "unlogged",
        r"""
content.py
         CheckConstraint("failures >= 0", name="failures"),
         open_to_all(),
         system_only(),
         Grant(APP, "SELECT"),
         Grant(READONLY, "SELECT"),
         Grant(SYSTEM, "SELECT", "INSERT", "UPDATE", "DELETE"),
+        {"prefixes": ["UNLOGGED"]},
""",
        needs=["table-rewritten"],
    ),
]

COLUMNS = [
    Case(
        "columns of every kind",
        r"""
publishing.py
     model: Mapped[str | None]
+    colour: Mapped[str | None]
+    shade: Mapped[str] = mapped_column(server_default="red")
+    extra: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
+    is_long: Mapped[bool] = mapped_column(sa.Computed("duration_s > 60", persisted=True))
+    is_short: Mapped[bool] = mapped_column(sa.Computed("duration_s < 60", persisted=False))
+    number: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(start=100))
+    made: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
""",
        needs=["adding-field-with-default", "sequence"],
    ),
    Case(
        "a column that must be filled",
        r"""
publishing.py
     model: Mapped[str | None]
+    colour: Mapped[str]
""",
        lost="rows of public.videos that have no colour yet: 6",
        is_hopeless=True,
    ),
    Case(
        "a column less",
        r"""
publishing.py
-    prompt: Mapped[str | None]
""",
        lost="values of public.videos.prompt: 6",
    ),
    Case(
        "a generated column less",
        r"""
results.py
-    is_mature: Mapped[bool] = mapped_column(Computed(MATURE, persisted=True))
@@
-            postgresql_where=text("applied_no IS NULL AND is_mature"),
+            postgresql_where=text("applied_no IS NULL"),
""",
    ),
    Case(
        "a renamed column under an index and checks",
        r"""
publishing.py
-    status: Mapped[str] = mapped_column(server_default="queued")
+    state: Mapped[str] = mapped_column(server_default="queued")
@@
-        Index(None, "tenant_id", "status"),
+        Index(None, "tenant_id", "state"),
@@
-            "status IN ('queued', 'generating', 'uploading', 'checking', 'completed', 'failed',"
+            "state IN ('queued', 'generating', 'uploading', 'checking', 'completed', 'failed',"
@@
-        CheckConstraint("status <> 'completed' OR video_url IS NOT NULL", name="completed"),
+        CheckConstraint("state <> 'completed' OR video_url IS NOT NULL", name="completed"),
""",
        renames=["videos.status=state"],
    ),
    Case(
        "wider types",
        r"""
publishing.py
     checksum: Mapped[str | None]
-    attempts: Mapped[int] = mapped_column(server_default="0")
+    attempts: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
@@
-    generation_cost: Mapped[Decimal] = mapped_column(server_default="0")
+    generation_cost: Mapped[Decimal] = mapped_column(sa.Numeric(12, 4), server_default="0")
""",
        needs=["changing-column-type"],
    ),
    Case(
        "narrower types that hold all values",
        r"""
publishing.py
     checksum: Mapped[str | None]
-    attempts: Mapped[int] = mapped_column(server_default="0")
+    attempts: Mapped[int] = mapped_column(sa.SmallInteger, server_default="0")
@@
-    generation_cost: Mapped[Decimal] = mapped_column(server_default="0")
+    generation_cost: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2), server_default="0")
""",
        needs=["changing-column-type"],
    ),
    Case(
        "a narrower type that cuts values",
        r"""
publishing.py
-    model: Mapped[str | None]
+    model: Mapped[str | None] = mapped_column(sa.String(5))
""",
        lost="values of public.videos.model that character varying(5) cannot hold: 6",
        needs=["changing-column-type", "prefer-text-field"],
    ),
    Case(
        "a type under a policy and checks",
        r"""
operations.py
-    scope: Mapped[str] = mapped_column(server_default="tenant")
+    scope: Mapped[str] = mapped_column(sa.String(20), server_default="tenant")
""",
        needs=["changing-column-type", "prefer-text-field"],
    ),
    Case(
        "a type under a generated column",
        r"""
results.py
     observed_on: Mapped[dt.date]
     views: Mapped[int] = mapped_column(BigInteger)
-    likes: Mapped[int | None] = mapped_column(BigInteger)
+    likes: Mapped[int | None] = mapped_column(sa.Integer)
""",
        refused='Column "likes" is used by generated column',
    ),
    Case(
        "other defaults",
        r"""
publishing.py
-    provider: Mapped[str]
+    provider: Mapped[str | None]
@@
-    status: Mapped[str] = mapped_column(server_default="queued")
+    status: Mapped[str] = mapped_column(server_default="failed")
@@
-    status: Mapped[str] = mapped_column(server_default="pending")
+    status: Mapped[str]
""",
    ),
    Case(
        "a column to be filled that is",
        r"""
publishing.py
-    model: Mapped[str | None]
+    model: Mapped[str]
""",
    ),
    Case(
        "a column to be filled that is not",
        r"""
content.py
-    source_platform: Mapped[str | None]
+    source_platform: Mapped[str]
""",
        lost="rows of public.concepts without source_platform: 2",
        is_hopeless=True,
    ),
    Case(
        "another expression",
        r"""
results.py
-MATURE = "observed_on >= (published_at AT TIME ZONE 'UTC')::date + 2"
+MATURE = "observed_on >= (published_at AT TIME ZONE 'UTC')::date + 3"
""",
    ),
    Case(
        "comments",
        r"""
publishing.py
-    model: Mapped[str | None]
+    model: Mapped[str | None] = mapped_column(comment="Who's?")
tenants.py
-        comment="The tenant this person opens first.",
+        comment="First.",
@@
-        comment="May do to this installation what its command line may.",
""",
    ),
]
