SET LOCAL ROLE viral_owner;

CREATE TABLE analytics_snapshots (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  snapshot_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  video_id UUID NOT NULL,
  post_id UUID,
  platform TEXT NOT NULL,
  source TEXT DEFAULT 'api' NOT NULL,
  metric_version INTEGER DEFAULT '1' NOT NULL,
  age_s BIGINT,
  views BIGINT NOT NULL,
  likes BIGINT,
  shares BIGINT,
  comments BIGINT,
  saves BIGINT,
  reach BIGINT,
  watch_time_s BIGINT,
  average_watch_s FLOAT(53),
  engagement_rate FLOAT(53) GENERATED ALWAYS AS (CASE WHEN views = 0 THEN 0 ELSE (coalesce(likes, 0) + coalesce(shares, 0) + coalesce(comments, 0))::double precision * 100 / views END) STORED NOT NULL,
  CONSTRAINT pk_analytics_snapshots PRIMARY KEY (tenant_id, id, snapshot_at),
  CONSTRAINT fk_analytics_snapshots_tenant_id_video_id FOREIGN KEY(tenant_id, video_id) REFERENCES videos (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_analytics_snapshots_tenant_id_post_id FOREIGN KEY(tenant_id, post_id) REFERENCES social_posts (tenant_id, id),
  CONSTRAINT ck_analytics_snapshots_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_analytics_snapshots_source CHECK (source IN ('api', 'manual')),
  CONSTRAINT ck_analytics_snapshots_counts CHECK (views >= 0 AND likes >= 0 AND shares >= 0 AND comments >= 0 AND saves >= 0 AND reach >= 0 AND watch_time_s >= 0 AND average_watch_s >= 0),
  CONSTRAINT fk_analytics_snapshots_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
)
 PARTITION BY RANGE (snapshot_at);

CREATE INDEX ix_analytics_snapshots_tenant_id_platform_snapshot_at ON analytics_snapshots (tenant_id, platform, snapshot_at);

CREATE INDEX ix_analytics_snapshots_tenant_id_post_id_snapshot_at ON analytics_snapshots (tenant_id, post_id, snapshot_at);

CREATE INDEX ix_analytics_snapshots_tenant_id_video_id_snapshot_at ON analytics_snapshots (tenant_id, video_id, snapshot_at);

CREATE TABLE performance_feedback (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  concept_id UUID NOT NULL,
  variant_id UUID,
  post_id UUID,
  platform TEXT NOT NULL,
  format TEXT,
  external_id TEXT NOT NULL,
  concept_title TEXT NOT NULL,
  category TEXT NOT NULL,
  published_at TIMESTAMP WITH TIME ZONE NOT NULL,
  observed_on DATE NOT NULL,
  views BIGINT NOT NULL,
  likes BIGINT,
  shares BIGINT,
  comments BIGINT,
  followers BIGINT,
  engagement_rate FLOAT(53) GENERATED ALWAYS AS (CASE WHEN views = 0 THEN 0 ELSE (coalesce(likes, 0) + coalesce(shares, 0) + coalesce(comments, 0))::double precision * 100 / views END) STORED NOT NULL,
  is_mature BOOLEAN GENERATED ALWAYS AS (observed_on >= (published_at AT TIME ZONE 'UTC')::date + 2) STORED NOT NULL,
  data_source TEXT DEFAULT 'manual' NOT NULL,
  reported_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  engagement_score FLOAT(53),
  reach_score FLOAT(53),
  outcome_version INTEGER,
  applied_no BIGINT,
  judged_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_performance_feedback PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_performance_feedback_tenant_id_concept_id FOREIGN KEY(tenant_id, concept_id) REFERENCES concepts (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_performance_feedback_tenant_id_variant_id FOREIGN KEY(tenant_id, variant_id) REFERENCES concept_variants (tenant_id, id),
  CONSTRAINT fk_performance_feedback_tenant_id_post_id FOREIGN KEY(tenant_id, post_id) REFERENCES social_posts (tenant_id, id),
  CONSTRAINT uq_performance_feedback_tenant_id_platform_external_id__d1c8 UNIQUE (tenant_id, platform, external_id, observed_on),
  CONSTRAINT ck_performance_feedback_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_performance_feedback_counts CHECK (views >= 0 AND likes >= 0 AND shares >= 0 AND comments >= 0 AND followers >= 0),
  CONSTRAINT ck_performance_feedback_data_source CHECK (data_source IN ('manual', 'scraped', 'api', 'file')),
  CONSTRAINT fk_performance_feedback_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_performance_feedback_applied ON performance_feedback (platform, applied_no);

CREATE INDEX ix_performance_feedback_tenant_id_category ON performance_feedback (tenant_id, category);

CREATE INDEX ix_performance_feedback_tenant_id_concept_id ON performance_feedback (tenant_id, concept_id);

CREATE INDEX ix_performance_feedback_tenant_id_platform_reported_at ON performance_feedback (tenant_id, platform, reported_at);

CREATE INDEX ix_performance_feedback_tenant_id_post_id ON performance_feedback (tenant_id, post_id);

CREATE INDEX ix_performance_feedback_tenant_id_reported_at ON performance_feedback (tenant_id, reported_at) INCLUDE (category, engagement_rate);

CREATE INDEX ix_performance_feedback_tenant_id_variant_id ON performance_feedback (tenant_id, variant_id);

CREATE INDEX ix_performance_feedback_unjudged ON performance_feedback (tenant_id, applied_no) WHERE judged_at IS NULL AND applied_no IS NOT NULL;

CREATE INDEX ix_performance_feedback_waiting ON performance_feedback (platform, published_at, id) WHERE applied_no IS NULL AND is_mature;

ALTER TABLE analytics_snapshots ENABLE ROW LEVEL SECURITY;

ALTER TABLE analytics_snapshots FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON analytics_snapshots TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT ON analytics_snapshots TO viral_app;

GRANT SELECT ON analytics_snapshots TO viral_readonly;

ALTER TABLE performance_feedback ENABLE ROW LEVEL SECURITY;

ALTER TABLE performance_feedback FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON performance_feedback TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY system_select ON performance_feedback FOR SELECT TO viral_system USING (true);

CREATE POLICY system_update ON performance_feedback FOR UPDATE TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, DELETE ON performance_feedback TO viral_app;

GRANT UPDATE (judged_at) ON performance_feedback TO viral_app;

GRANT SELECT ON performance_feedback TO viral_readonly;

GRANT SELECT ON performance_feedback TO viral_system;

GRANT UPDATE (engagement_score, reach_score, outcome_version, applied_no) ON performance_feedback TO viral_system;

SET LOCAL ROLE viral_owner;
