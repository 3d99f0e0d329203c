"""Edits of policies, privileges and functions, and what becomes of each."""

from __future__ import annotations

from migrations.edited_models import Case

SECURITY = [
    Case(
        "other policies",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
-        tenant_only(),
+        may.Policy("tenant_only", APP, using=may.MINE, check=f"{may.MINE} AND attempts < 100"),
@@
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        may.Policy("system_select", may.SYSTEM, using="true", command="SELECT"),
+        may.Policy("narrow", APP, using=may.MINE, is_restrictive=True),
""",
    ),
    Case(
        "a policy for another command",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
-        tenant_only(),
+        may.Policy("tenant_only", APP, READONLY, using=may.MINE, command="SELECT"),
""",
    ),
    Case(
        "a policy less",
        r"""
content.py
         tenant_only(),
-        functions_too(),
         Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
""",
        needs=["policy-dropped"],
    ),
    Case(
        "other privileges",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
         tenant_only(),
-        Grant(APP, "SELECT", "INSERT", "UPDATE", "DELETE"),
+        Grant(APP, "SELECT"),
@@
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        Grant(may.SYSTEM, "SELECT", "UPDATE", columns=("id", "model")),
+        Grant(may.AUTH, "SELECT"),
@@
-                "niche",
""",
    ),
    Case(
        "a privilege to pass on",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        Grant(may.SYSTEM, "SELECT", may_pass_on=True),
""",
        needs=["grant-option"],
    ),
    Case(
        "another owner",
        r"""
tenants.py
-        OwnedBy(AUTH),
""",
        refused="must be able to SET ROLE",
    ),
    Case(
        "row security off",
        r"""
publishing.py
         CheckConstraint("generation_cost >= 0", name="generation_cost"),
+        may.RowSecurity(is_enabled=False, is_forced=False),
""",
        needs=["row-security-off"],
    ),
]

FUNCTIONS = [
    Case(
        "other bodies and callers",
        r"""
functions/heartbeat.sql
-  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
+  ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp()
functions/end_session.sql
-LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
+LANGUAGE sql VOLATILE SECURITY INVOKER SET search_path = ''
functions/__init__.py
-    Function("take_quota", "uuid, integer, uuid", (APP,)),
+    Function("take_quota", "uuid, integer, uuid", (APP, SYSTEM)),
""",
    ),
    Case(
        "another signature",
        r"""
functions/heartbeat.sql
-CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS void
+CREATE FUNCTION viral.heartbeat(worker uuid, moment timestamptz) RETURNS void
functions/__init__.py
-    Function("heartbeat", "uuid", (WORKER,)),
+    Function("heartbeat", "uuid, timestamptz", (WORKER,)),
""",
    ),
    Case(
        "another result",
        r"""
functions/heartbeat.sql
-CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS void
+CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS boolean
@@
-  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
+  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now() RETURNING true
""",
    ),
    Case(
        "a function more and one less",
        r"""
functions/twice.sql
+CREATE FUNCTION viral.twice(word text) RETURNS text
+LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = '' AS $$ SELECT word || word $$
functions/__init__.py
-    Function("end_session", "bytea", (APP,)),
+    Function("twice", "text", (APP,)),
""",
    ),
    Case(
        "a function of another owner",
        r"""
functions/__init__.py
-    Function("heartbeat", "uuid", (WORKER,)),
+    Function("heartbeat", "uuid", (WORKER,), owner=OWNER),
""",
        refused="must be able to SET ROLE",
    ),
]
