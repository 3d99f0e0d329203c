"""Changes past the migrations, of every kind that a catalogue lists.

Each with the objects that it touches, joined by " + ", and its SQL.
"""

from __future__ import annotations

PARTITION = """
SELECT 'public.' || min(c.oid::regclass::text) FROM pg_class AS c
WHERE c.relispartition AND c.relkind = 'r' AND c.relname LIKE 'analytics_snapshots%'
"""

BY_MIGRATION = [
    ("table public.videos", "ALTER TABLE videos DISABLE ROW LEVEL SECURITY"),
    ("table public.videos", "ALTER TABLE videos NO FORCE ROW LEVEL SECURITY"),
    ("table public.model_versions", "ALTER TABLE model_versions SET UNLOGGED"),
    ("table public.trends", "ALTER TABLE trends SET (fillfactor = 50)"),
    ("policy public.videos.extra", "CREATE POLICY extra ON videos TO viral_app USING (true)"),
    ("policy public.videos.tenant_only", "ALTER POLICY tenant_only ON videos USING (true)"),
    ("policy public.videos.tenant_only", "ALTER POLICY tenant_only ON videos TO PUBLIC"),
    ("policy public.videos.tenant_only", "DROP POLICY tenant_only ON videos"),
    ("grant table public.videos to PUBLIC", "GRANT SELECT ON videos TO PUBLIC"),
    ("grant table public.videos to viral_readonly", "GRANT DELETE ON videos TO viral_readonly"),
    (
        "grant table public.videos to viral_app",
        "GRANT SELECT ON videos TO viral_app WITH GRANT OPTION",
    ),
    (
        "grant column public.users.password_hash to viral_app",
        "GRANT SELECT (password_hash) ON users TO viral_app",
    ),
    (
        "grant function viral.take_quota(uuid, integer, uuid) to PUBLIC",
        "GRANT EXECUTE ON FUNCTION viral.take_quota TO PUBLIC",
    ),
    ("grant schema viral to PUBLIC", "GRANT USAGE ON SCHEMA viral TO PUBLIC"),
    (
        "default privileges of viral_admin in public on TABLES to viral_app",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO viral_app",
    ),
    (
        "constraint public.videos.ck_videos_status",
        (
            "ALTER TABLE videos DROP CONSTRAINT ck_videos_status, ADD CONSTRAINT"
            " ck_videos_status CHECK (status <> '')"
        ),
    ),
    (
        "constraint public.videos.ck_videos_generation_cost",
        (
            "ALTER TABLE videos DROP CONSTRAINT ck_videos_generation_cost, ADD CONSTRAINT"
            " ck_videos_generation_cost CHECK (generation_cost >= 0) NOT VALID"
        ),
    ),
    (
        "constraint public.memberships.fk_memberships_user_id",
        (
            "ALTER TABLE memberships DROP CONSTRAINT fk_memberships_user_id, ADD CONSTRAINT"
            " fk_memberships_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE"
            " CASCADE"
        ),
    ),
    (
        "index public.ix_job_queue_running",
        (
            "DROP INDEX ix_job_queue_running;CREATE INDEX ix_job_queue_running ON job_queue"
            " (worker_id) WHERE status <> 'pending'"
        ),
    ),
    ("index public.ix_videos_tenant_id_status", "DROP INDEX ix_videos_tenant_id_status"),
    (
        "column public.tenants.monthly_quota",
        "ALTER TABLE tenants ALTER COLUMN monthly_quota SET DEFAULT 1000",
    ),
    ("column public.videos.model", "ALTER TABLE videos ALTER COLUMN model SET NOT NULL"),
    ("column public.videos.model", "ALTER TABLE videos ALTER COLUMN model TYPE varchar(10)"),
    ("column public.videos.extra", "ALTER TABLE videos ADD COLUMN extra text"),
    ("function viral.tenant_id()", "ALTER FUNCTION viral.tenant_id() SET search_path = public"),
    ("function viral.heartbeat(uuid)", "ALTER FUNCTION viral.heartbeat(uuid) SECURITY INVOKER"),
    (
        "trigger public.videos.watch",
        (
            "CREATE TRIGGER watch BEFORE UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION"
            " suppress_redundant_updates_trigger()"
        ),
    ),
    ("references of public.webhook_events", "ALTER TABLE webhook_events DISABLE TRIGGER ALL"),
    ("rule public.trends.nothing", "CREATE RULE nothing AS ON DELETE TO trends DO NOTHING"),
    ("view public.everything", "CREATE VIEW everything AS SELECT 1 AS one"),
    ("sequence public.numbers", "CREATE SEQUENCE numbers"),
    ("comment on table public.videos", "COMMENT ON TABLE videos IS 'films'"),
    ("comment on column public.users.tenant_id", "COMMENT ON COLUMN users.tenant_id IS 'first'"),
    ("table public.trends", "ALTER TABLE trends REPLICA IDENTITY FULL"),
    ("table public.trends", "ALTER TABLE trends SET (toast.autovacuum_enabled = off)"),
    ("schema evil + table evil.hidden", "CREATE SCHEMA evil CREATE TABLE hidden ()"),
    ("schema evil", "CREATE SCHEMA evil"),
    ("column public.trends.topic", "ALTER TABLE trends ALTER topic SET STORAGE EXTERNAL"),
    ("column public.trends.topic", "ALTER TABLE trends ALTER topic SET COMPRESSION pglz"),
    ("column public.trends.topic", "ALTER TABLE trends ALTER topic SET STATISTICS 7"),
    ("column public.trends.topic", "ALTER TABLE trends ALTER topic SET (n_distinct = 5)"),
    ("column public.trends.topic", 'ALTER TABLE trends ALTER topic TYPE text COLLATE "C"'),
    (
        "column public.performance_feedback.is_mature",
        "ALTER TABLE performance_feedback ALTER is_mature DROP EXPRESSION",
    ),
    (
        "column public.trends.number",
        "ALTER TABLE trends ADD number bigint GENERATED ALWAYS AS IDENTITY",
    ),
    ("column public.videos.status", "ALTER TABLE videos ALTER status DROP DEFAULT"),
    ("column public.videos.status", "ALTER TABLE videos ALTER status DROP NOT NULL"),
    (
        "constraint public.videos.apart",
        "ALTER TABLE videos ADD CONSTRAINT apart EXCLUDE (provider_job_id WITH =)",
    ),
    (
        "constraint public.memberships.fk_memberships_user_id",
        "ALTER TABLE memberships ALTER CONSTRAINT fk_memberships_user_id DEFERRABLE",
    ),
    (
        "constraint public.tenants.uq_tenants_slug",
        (
            "ALTER TABLE tenants DROP CONSTRAINT uq_tenants_slug, ADD CONSTRAINT"
            " uq_tenants_slug UNIQUE NULLS NOT DISTINCT (slug)"
        ),
    ),
    ("constraint public.tenants.uq_tenants_slug", "ALTER TABLE tenants CLUSTER ON uq_tenants_slug"),
    (
        "index public.ix_videos_tenant_id_status",
        (
            "DROP INDEX ix_videos_tenant_id_status;CREATE INDEX ix_videos_tenant_id_status ON"
            " videos USING brin (tenant_id, status)"
        ),
    ),
    (
        "index public.ix_trends_observed_at",
        (
            "DROP INDEX ix_trends_observed_at;CREATE INDEX ix_trends_observed_at ON trends"
            " (topic text_pattern_ops)"
        ),
    ),
    ("index public.extra", "CREATE UNIQUE INDEX extra ON trends (topic) INCLUDE (score)"),
    (
        "index public.ix_trends_observed_at",
        "ALTER INDEX ix_trends_observed_at SET (fillfactor = 50)",
    ),
    (
        "policy public.videos.narrow",
        "CREATE POLICY narrow ON videos AS RESTRICTIVE TO viral_app USING (true)",
    ),
    ("policy public.videos.tenant_only", "ALTER POLICY tenant_only ON videos WITH CHECK (true)"),
    ("grant database to PUBLIC", "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC"),
    ("owner's rights table public.videos", "REVOKE SELECT ON videos FROM viral_owner"),
    ("grant language plpgsql to PUBLIC", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC"),
    (
        "default privileges of viral_owner on FUNCTIONS to viral_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE viral_owner GRANT EXECUTE ON ROUTINES TO viral_app",
    ),
    (
        "default privileges of viral_owner on FUNCTIONS to PUBLIC (withheld)",
        "ALTER DEFAULT PRIVILEGES FOR ROLE viral_owner REVOKE EXECUTE ON ROUTINES FROM PUBLIC",
    ),
    (
        "function viral.heartbeat(uuid)",
        (
            "CREATE OR REPLACE FUNCTION viral.heartbeat(worker uuid) RETURNS void LANGUAGE sql"
            " SECURITY DEFINER SET search_path = '' AS 'SELECT'"
        ),
    ),
    ("materialized view public.snap", "CREATE MATERIALIZED VIEW snap AS SELECT 1 AS one"),
    ("type public.mood", "CREATE TYPE mood AS ENUM ('good', 'bad')"),
    ("type public.small", "CREATE DOMAIN small AS integer CHECK (VALUE < 10)"),
    ("type public.pair", "CREATE TYPE pair AS (one integer, two text)"),
    ("statistics public.pairs", "CREATE STATISTICS pairs ON source, topic FROM trends"),
    ("publication everything", "CREATE PUBLICATION everything FOR ALL TABLES"),
    ("publication part", "CREATE PUBLICATION part FOR TABLE videos WHERE (status = 'ready')"),
    ("comment on schema viral", "COMMENT ON SCHEMA viral IS 'ours'"),
    (
        "comment on policy public.videos.tenant_only",
        "COMMENT ON POLICY tenant_only ON videos IS 'mine'",
    ),
    ("comment on function viral.tenant_id()", "COMMENT ON FUNCTION viral.tenant_id() IS 'who'"),
    (
        "comment on index public.ix_trends_observed_at",
        "COMMENT ON INDEX ix_trends_observed_at IS 'x'",
    ),
    (
        "table public.films + type public.mood",
        (
            "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE films (id uuid PRIMARY KEY,"
            " mood mood NOT NULL DEFAULT 'good', serial integer GENERATED BY DEFAULT AS"
            " IDENTITY, parent uuid REFERENCES films, CHECK (serial > 0)); CREATE INDEX ON"
            " films (lower(id::text)) WHERE mood = 'bad'; ALTER TABLE films ENABLE ROW LEVEL"
            " SECURITY; GRANT SELECT ON films TO viral_app"
        ),
    ),
    ("column public.job_queue.priority", "ALTER TABLE job_queue ALTER priority TYPE bigint"),
    ("column public.videos.provider", "ALTER TABLE videos ALTER provider TYPE varchar(200)"),
    (
        (
            "column public.performance_feedback.is_mature"
            " + index public.ix_performance_feedback_waiting"
        ),
        (
            "ALTER TABLE performance_feedback DROP is_mature; ALTER TABLE performance_feedback"
            " ADD is_mature boolean GENERATED ALWAYS AS (views > 5) STORED NOT NULL"
        ),
    ),
    ("table public.audit_log", "DROP TABLE audit_log"),
    (
        "view public.busy",
        (
            "CREATE VIEW busy WITH (security_invoker = true) AS SELECT id, status FROM videos;"
            " GRANT SELECT ON busy TO viral_app; COMMENT ON VIEW busy IS 'x'"
        ),
    ),
    (
        "function viral.twice(integer)",
        ("CREATE FUNCTION viral.twice(a integer) RETURNS integer LANGUAGE sql AS 'SELECT a * 2'"),
    ),
    (
        "sequence public.steps",
        (
            "CREATE SEQUENCE steps AS smallint START 5 INCREMENT 5 MINVALUE 5 MAXVALUE 500"
            " CACHE 3 CYCLE"
        ),
    ),
]

BY_MIGRATION += [
    ("type public.span", "CREATE TYPE span AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi)"),
    ("publication plain", "CREATE PUBLICATION plain FOR TABLE videos, trends"),
    ("publication wide", "CREATE PUBLICATION wide FOR TABLES IN SCHEMA public"),
]

# What no migration would do: the work of an administrator, or of a partition on its own.
BY_HAND = [
    ("table public.videos", "ALTER TABLE videos OWNER TO viral_backup"),
    (
        "index public.ix_videos_tenant_id_status",
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid ="
            " 'ix_videos_tenant_id_status'::regclass"
        ),
    ),
    ("function viral.tenant_id()", "ALTER FUNCTION viral.tenant_id() OWNER TO viral_backup"),
    ("partition {partition}", "GRANT SELECT ON {partition} TO viral_app"),
    ("partition {partition}", "ALTER TABLE {partition} NO FORCE ROW LEVEL SECURITY"),
    ("partition {partition}", "GRANT SELECT (id) ON {partition} TO viral_app"),
    (
        "grant schema viral to viral_backup + schema viral",
        "ALTER SCHEMA viral OWNER TO viral_backup",
    ),
    (
        "table public.parent + table public.videos",
        "CREATE TABLE parent (); ALTER TABLE videos INHERIT parent",
    ),
    (
        "constraint public.tenants.pk_tenants",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pk_tenants'::regclass",
    ),
    ("function viral.heartbeat(uuid)", "ALTER FUNCTION viral.heartbeat(uuid) LEAKPROOF"),
    (
        "aggregate public.total(integer)",
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",
    ),
    (
        "event trigger watch",
        (
            "CREATE FUNCTION pg_temp.see() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN"
            " END'; CREATE EVENT TRIGGER watch ON sql_drop EXECUTE FUNCTION pg_temp.see()"
        ),
    ),
    ("foreign-data wrapper far", "CREATE FOREIGN DATA WRAPPER far"),
    ("collation public.loose", "CREATE COLLATION loose (provider = libc, locale = 'C')"),
    ("partition {partition}", "ALTER TABLE {partition} SET UNLOGGED"),
    ("partition {partition}", "ALTER TABLE {partition} OWNER TO viral_backup"),
    ("partition {partition}", "CREATE POLICY more ON {partition} USING (true)"),
    ("partition {partition}", "CREATE INDEX ON {partition} (platform)"),
    ("partition {partition}", "ALTER TABLE {partition} ADD CHECK (views > 5)"),
    ("partition {partition}", "ALTER TABLE {partition} ALTER source SET DEFAULT 'x'"),
    ("partition {partition}", "ALTER TABLE {partition} DISABLE TRIGGER ALL"),
    ("partition public.rest", "CREATE TABLE rest PARTITION OF analytics_snapshots DEFAULT"),
    ("table {partition}", "ALTER TABLE analytics_snapshots DETACH PARTITION {partition}"),
]

CHANGES = BY_MIGRATION + BY_HAND
