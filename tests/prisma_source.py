"""A database as the specification's Prisma schema makes it, filled by SQL, sound or broken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from clusters import Cluster
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from viral.features.prisma_import.report import Report
from viral.features.prisma_import.run import import_prisma
from viral.features.prisma_import.target import open_target
from viral.schema.tables import METADATA

# 35 characters, as the former system made them.
KEY = "vd_" + "k" * 26
_numbers = count(1)

# A table's columns: `?` may be null; the type is text where none is given.
_SHAPE = {
    "tenants": """id name subscriptionTier:"SubscriptionTier" subscriptionStatus stripeCustomerId?
        stripeSubscriptionId? monthlyQuota:integer usedQuota:integer quotaResetAt:time
        createdAt:now updatedAt:now""",
    "users": """id clerkId email name? imageUrl? tenantId role:"UserRole" apiKey? apiKeyHash?
        createdAt:now updatedAt:now lastLoginAt?:time""",
    "generations": """id tenantId date:now concepts:jsonb trends:jsonb isFavorite:boolean
        createdAt:now""",
    "videos": """id tenantId conceptId category platform videoUrl cdnUrl? thumbnailUrl? provider
        status errorMessage? metadata?:jsonb generationCost:numeric(10,4) generatedAt?:time
        createdAt:now updatedAt:now""",
    "social_accounts": """id tenantId platform username accessToken refreshToken? expiresAt?:time
        dailyLimit:integer usedToday:integer lastReset:now niche? isActive:boolean metadata?:jsonb
        createdAt:now updatedAt:now""",
    "social_posts": """id videoId accountId platform postUrl? platformPostId? status errorMessage?
        scheduledFor?:time postedAt?:time createdAt:now updatedAt:now""",
    "performance_feedback": """id tenantId conceptId conceptTitle category platform variantId?
        views:integer likes:integer shares:integer comments:integer engagementRate:numeric(10,4)
        reportedAt:now dataSource""",
    "analytics_snapshots": """id videoId platform views:integer likes:integer shares:integer
        comments:integer watchTime?:integer engagementRate:numeric(10,4) snapshotAt:now""",
    "self_critiques": """id tenantId conceptId performanceGap:jsonb critique
        hypothesizedReasons:jsonb scoringIssues:jsonb adjustmentPlan confidenceLevel createdAt:now
        appliedAt?:time""",
    "reflexion_insights": """id tenantId category platform pattern evidenceCount:integer impact
        recommendation appliedToScoring:boolean discoveredAt:now lastSeenAt:now""",
    "scoring_adjustments": """id tenantId critiqueId category adjustmentType
        oldValue:numeric(10,4) newValue:numeric(10,4) reason appliedAt:now""",
    "audio_trends": """id platform soundId soundName artistName? usageCount:integer
        trendScore:numeric(10,4) category? discoveredAt:now lastSeenAt:now isActive:boolean""",
    "competitor_videos": """id platform creatorUsername videoId title? views:integer likes:integer
        comments:integer engagementRate:numeric(10,4) duration:integer hashtags?:jsonb category
        soundId? hookText? publishedAt:time scrapedAt:now""",
    "job_queue": """id tenantId? jobType status priority:integer payload:jsonb result?:jsonb
        errorMessage? attempts:integer maxAttempts:integer scheduledFor:now startedAt?:time
        completedAt?:time createdAt:now""",
    "system_metrics": "id metricType value:numeric(10,4) metadata?:jsonb recordedAt:now",
    "api_usage": """id tenantId apiKey endpoint method statusCode:integer responseTime:integer
        timestamp:now""",
}
_TYPES = {
    "time": "timestamp(3)",
    "now": "timestamp(3) DEFAULT CURRENT_TIMESTAMP",
    "": "text",
}
_RULES = """
ALTER TABLE social_posts ADD FOREIGN KEY ("accountId") REFERENCES social_accounts (id)
  ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE scoring_adjustments ADD FOREIGN KEY ("critiqueId") REFERENCES self_critiques (id)
  ON DELETE CASCADE ON UPDATE CASCADE;
CREATE UNIQUE INDEX ON users ("clerkId");
CREATE UNIQUE INDEX ON users (email);
CREATE UNIQUE INDEX ON users ("apiKey");
CREATE UNIQUE INDEX ON social_accounts ("tenantId", platform, username);
CREATE UNIQUE INDEX ON reflexion_insights ("tenantId", category, platform, pattern);
"""
_WITH_TENANT = (
    "users",
    "generations",
    "videos",
    "social_accounts",
    "performance_feedback",
    "self_critiques",
    "reflexion_insights",
    "scoring_adjustments",
)


def schema() -> str:
    """Write the SQL of the sixteen tables."""
    parts = [
        "CREATE TYPE \"UserRole\" AS ENUM ('ADMIN', 'MEMBER');",
        "CREATE TYPE \"SubscriptionTier\" AS ENUM ('FREE', 'STARTER', 'PRO', 'AGENCY');",
    ]
    for table, columns in _SHAPE.items():
        lines = [_column(each) for each in columns.split()]
        parts.append(f"CREATE TABLE {table} ({', '.join(lines)}, PRIMARY KEY (id));")
    parts += [
        f'ALTER TABLE {table} ADD FOREIGN KEY ("tenantId") REFERENCES tenants (id)'
        " ON DELETE CASCADE ON UPDATE CASCADE;"
        for table in _WITH_TENANT
    ]
    return "\n".join([*parts, _RULES])


def _column(text: str) -> str:
    name, _, kind = text.partition(":")
    kind = _TYPES.get(kind, kind)
    return f'"{name.rstrip("?")}" {kind}{"" if name.endswith("?") else " NOT NULL"}'


# Every second id is a UUID, the others are words.
_FILL = """
CREATE FUNCTION id_of(kind text, n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT CASE WHEN n % 2 = 0 THEN md5(kind || n)::uuid::text ELSE kind || '_' || n END
$$;
CREATE FUNCTION at(n bigint) RETURNS timestamp IMMUTABLE LANGUAGE sql AS $$
  SELECT timestamp '2025-03-01 09:00' + n * interval '37 minutes 1.25 seconds'
$$;
CREATE FUNCTION category_of(n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT (ARRAY['news','absurd','luxury','emotional','tech','cartoon','gaming'])[n % 7 + 1]
$$;
CREATE FUNCTION platform_of(n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
  SELECT (ARRAY['tiktok','youtube-shorts','instagram-reels'])[n % 3 + 1]
$$;
INSERT INTO tenants SELECT id_of('tenant', n),
  CASE n % 5 WHEN 0 THEN 'Studio' ELSE 'Studio ' || n END,
  (ARRAY['FREE','STARTER','PRO','AGENCY'])[n % 4 + 1]::"SubscriptionTier", 'active', 'cus_' || n,
  NULL, 50, n, '2026-12-01', at(n), at(n) FROM generate_series(1, {tenants}) AS n;
INSERT INTO users SELECT id_of('user', n), 'clerk_' || n, 'Person' || n || '@Example.com',
  'P ' || n, NULL, id_of('tenant', n % {tenants} + 1),
  (ARRAY['ADMIN','MEMBER'])[n % 2 + 1]::"UserRole",
  CASE WHEN n % 2 = 0 THEN '{key}' || lpad(n::text, 6, '0') END, 'aGFzaA==', at(n), at(n), at(n)
  FROM generate_series(1, {tenants} * 2) AS n;
INSERT INTO generations SELECT id_of('generation', n), id_of('tenant', n % {tenants} + 1), at(n),
  (SELECT jsonb_agg(jsonb_build_object(
     'id', id_of('concept', n * 3 + k), 'title', 'Concept ' || n || ' ' || k,
     'category', category_of(n + k), 'caption', 'Look at this', 'hashtags', '["a", "b"]'::jsonb,
     'script', '[{{"time_range": "0-3s", "visual": "A", "camera": "wide",
                  "on_screen_text": "Wait for it"}},
                 {{"time_range": "3-12s", "visual": "B", "camera": "close"}}]'::jsonb,
     'sora_prompt', 'sora ' || n, 'veo_prompt', 'veo ' || n, 'why_it_works', 'Because.',
     'trend_source', 'Topic ' || n, 'post_time', '{{"utc": "18:30", "est": "13:30"}}'::jsonb,
     'platform_virality', jsonb_build_object('tiktok', jsonb_build_object('score', n % 101),
        'youtube_shorts', jsonb_build_object('score', 55.5, 'label', 'GOOD REACH')),
     'monetization', '{{"score": 4}}'::jsonb,
     'variants', CASE WHEN k = 0 THEN jsonb_build_array(
        jsonb_build_object('id', 'v' || n || 'A', 'label', 'A', 'title', 'A', 'caption', 'a',
                           'hook_source', 'template', 'selected', true),
        jsonb_build_object('id', 'v' || n || 'B', 'label', 'B', 'title', 'B', 'caption', 'b',
                           'hook_source', 'evolved')) END)) FROM generate_series(0, 2) AS k),
  jsonb_build_array(jsonb_build_object('topic', 'Topic ' || n, 'category', 'tech', 'source', 'x',
    'score', 70, 'relatedKeywords', '["k"]'::jsonb)), n % 10 = 0, at(n)
  FROM generate_series(1, {generations}) AS n;
INSERT INTO videos SELECT id_of('video', n), id_of('tenant', n % {tenants} + 1),
  id_of('concept', n * 3), category_of(n), platform_of(n), 'https://cdn/' || n, NULL, NULL, 'sora',
  (ARRAY['completed','failed','generating'])[(n % 10) / 8 + 1 + (n % 10) / 9], NULL,
  CASE WHEN n % 2 = 0 THEN '{{"quality": "hd"}}'::jsonb END, 1.2345, at(n), at(n), at(n)
  FROM generate_series(1, {generations} / 2) AS n;
INSERT INTO social_accounts SELECT id_of('account', n), id_of('tenant', n % {tenants} + 1),
  (ARRAY['tiktok','youtube','instagram'])[n % 3 + 1], 'name' || n, 'secret-token', 'secret-refresh',
  at(n), 10, 1, at(n), 'tech', true, NULL, at(n), at(n)
  FROM generate_series(1, {tenants} * 3) AS n;
INSERT INTO social_posts SELECT id_of('post', n), id_of('video', n),
  id_of('account', (n - 1) % {tenants} + 1),
  platform_of(n), 'https://post/' || n, 'platform-' || n,
  (ARRAY['posted','pending','failed'])[(n % 10) / 8 + 1 + (n % 10) / 9], NULL, NULL,
  at(n) + interval '1 day', at(n), at(n) FROM generate_series(1, {generations} / 2) AS n;
INSERT INTO performance_feedback SELECT id_of('feedback', n), id_of('tenant', n % {tenants} + 1),
  id_of('concept', n * 3), 'Concept ' || n, category_of(n), platform_of(n),
  CASE WHEN n % 2 = 0 THEN 'v' || n || 'A' END, 1000 + n, n % 90, 5, 7, 3.2,
  at(n) + interval '5 days', 'manual' FROM generate_series(1, {generations}) AS n;
INSERT INTO analytics_snapshots SELECT id_of('snapshot', n),
  id_of('video', n % ({generations} / 2) + 1),
  platform_of(n), n, 1, 2, 3, 60, 1.5, at(n / 2) FROM generate_series(1, {generations} * 2) AS n;
INSERT INTO self_critiques SELECT id_of('critique', n), id_of('tenant', n % {tenants} + 1),
  id_of('concept', n * 3), jsonb_build_object('conceptId', id_of('concept', n * 3), 'conceptTitle',
  'Concept', 'category', 'tech', 'platform', platform_of(n), 'predictedVirality', 80,
  'actualEngagement', 2.5, 'actualViralityScore', 45, 'gap', -35, 'gapPercentage', -43,
  'direction', 'over-predicted'), 'Too high.', '["a"]', '["b"]', 'Lower it.', 'high', at(n), NULL
  FROM generate_series(1, {generations} / 5) AS n;
INSERT INTO reflexion_insights SELECT id_of('insight', n), id_of('tenant', n % {tenants} + 1),
  category_of(n), platform_of(n), 'Pattern ' || n || repeat('x', 3000), 3, 'positive',
  'Do it.', true, at(n), at(n) FROM generate_series(1, {generations} / 10) AS n;
INSERT INTO scoring_adjustments SELECT id_of('adjustment', n), id_of('tenant', n % {tenants} + 1),
  id_of('critique', n), category_of(n), 'category-weight', 1, 0.8, 'Overrated.', at(n)
  FROM generate_series(1, {generations} / 10) AS n;
INSERT INTO audio_trends SELECT id_of('audio', n), 'tiktok', 's' || n, 'Sound', NULL, n, 50, NULL,
  at(n), at(n), true FROM generate_series(1, {generations} / 20) AS n;
INSERT INTO competitor_videos SELECT id_of('competitor', n), 'tiktok', 'c', 'v' || n, NULL, n, 1, 1,
  2, 30, '["x"]', 'tech', NULL, NULL, at(n), at(n) FROM generate_series(1, {generations} / 20) AS n;
INSERT INTO job_queue SELECT id_of('job', n),
  CASE WHEN n % 5 > 0 THEN id_of('tenant', n % {tenants} + 1) END, 'generate-video',
  (ARRAY['completed','failed','pending','running'])[n % 4 + 1], 5, '{{"videoId": "x"}}',
  CASE WHEN n % 4 = 0 THEN '{{"ok": true}}'::jsonb END, NULL, 1, 3, at(n), at(n), at(n), at(n)
  FROM generate_series(1, {generations} / 4) AS n;
INSERT INTO system_metrics SELECT id_of('metric', n), 'cost_per_video', 1.5, NULL, at(n)
  FROM generate_series(1, {generations} / 5) AS n;
INSERT INTO api_usage SELECT id_of('usage', n), id_of('tenant', n % {tenants} + 1),
  '{key}' || lpad(n::text, 6, '0'), '/api/v1/x?apiKey={key}' || lpad(n::text, 6, '0'), 'GET', 200,
  12, at(n) FROM generate_series(1, {generations}) AS n;
"""


@asynccontextmanager
async def prisma_database(
    cluster: Cluster, *statements: str, tenants: int = 4, generations: int = 40
) -> AsyncIterator[str]:
    """Make and fill such a database; yields the URL of a role that reads it."""
    name = f"prisma_{next(_numbers)}"
    fill = _FILL.format(tenants=tenants, generations=generations, key=KEY)
    await cluster.execute_as_admin(
        "postgres",
        "DO $$ BEGIN CREATE ROLE prisma LOGIN PASSWORD 'prisma';"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"CREATE DATABASE {name}",
    )
    try:
        readable = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO prisma"
        await cluster.execute_as_admin(name, schema(), fill, *statements, readable)
        address = cluster.url("viral_migrator", name).for_role("prisma", "prisma")
        yield address.libpq(password=True)
    finally:
        await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def run_import(
    cluster: Cluster, database: str, url: str, folder: Path | None = None
) -> Report:
    """Import into a database as the command does; without a folder it is a dry run."""
    app, system = (
        cluster.database("viral_app", database),
        cluster.database("viral_system", database),
    )
    migrator = cluster.url("viral_migrator", database)
    try:
        async with open_target(
            app=app, system=system, migrator=migrator, secrets=cluster.secrets
        ) as target:
            return await import_prisma(
                url,
                target,
                pepper=cluster.secrets.pepper,
                now=datetime.now(UTC),
                folder=folder,
                progress=lambda _step, _done, _total: None,
            )
    finally:
        await app.close()
        await system.close()


async def all_rows(admin: AsyncConnection, *, versions: bool = False) -> dict[str, list[str]]:
    """Read every row of every table as text; with `versions` also what wrote it last."""
    # The ledger says when the line was written here; everything else comes from the source.
    columns = "t.xmin::text || t::text" if versions else "(to_jsonb(t) - 'created_at')::text"
    return {
        str(table): sorted(await admin.scalars(text(f"SELECT {columns} FROM {table} AS t")))
        for table in METADATA.sorted_tables
    }
