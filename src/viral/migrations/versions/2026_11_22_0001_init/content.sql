SET LOCAL ROLE viral_owner;

CREATE TABLE trends (
  id UUID NOT NULL,
  source TEXT NOT NULL,
  external_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  category TEXT NOT NULL,
  score FLOAT(53) NOT NULL,
  keywords JSONB DEFAULT '[]' NOT NULL,
  url TEXT,
  region TEXT,
  engagement_count INTEGER,
  is_sample BOOLEAN DEFAULT false NOT NULL,
  observed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_trends PRIMARY KEY (id),
  CONSTRAINT uq_trends_source_external_id UNIQUE (source, external_id),
  CONSTRAINT ck_trends_score CHECK (score BETWEEN 0 AND 100),
  CONSTRAINT ck_trends_topic CHECK (topic <> '' AND length(topic) <= 500)
);

CREATE INDEX ix_trends_category_observed_at ON trends (category, observed_at);

CREATE INDEX ix_trends_observed_at ON trends (observed_at);

CREATE TABLE generations (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  user_id UUID,
  reservation_id UUID NOT NULL,
  date TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  settings JSONB NOT NULL,
  trends JSONB NOT NULL,
  writer TEXT NOT NULL,
  is_favorite BOOLEAN DEFAULT false NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_generations PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_generations_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES memberships (tenant_id, user_id),
  CONSTRAINT fk_generations_tenant_id_reservation_id FOREIGN KEY(tenant_id, reservation_id) REFERENCES quota_ledger (tenant_id, id),
  CONSTRAINT uq_generations_tenant_id_reservation_id UNIQUE (tenant_id, reservation_id),
  CONSTRAINT fk_generations_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_generations_tenant_id_date ON generations (tenant_id, date);

CREATE INDEX ix_generations_tenant_id_is_favorite ON generations (tenant_id, is_favorite);

CREATE INDEX ix_generations_tenant_id_user_id ON generations (tenant_id, user_id);

CREATE TABLE concepts (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  generation_id UUID,
  origin TEXT DEFAULT 'generated' NOT NULL,
  source_platform TEXT,
  source_id TEXT,
  category TEXT NOT NULL,
  title TEXT NOT NULL,
  hook TEXT DEFAULT '' NOT NULL,
  hook_type TEXT,
  script JSONB DEFAULT '[]' NOT NULL,
  caption TEXT DEFAULT '' NOT NULL,
  hashtags JSONB DEFAULT '[]' NOT NULL,
  duration_s INTEGER,
  sound TEXT,
  post_at TIMESTAMP WITH TIME ZONE,
  why_it_works TEXT DEFAULT '' NOT NULL,
  prompts JSONB DEFAULT '{}' NOT NULL,
  trend JSONB,
  is_favorite BOOLEAN DEFAULT false NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_concepts PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_concepts_tenant_id_generation_id FOREIGN KEY(tenant_id, generation_id) REFERENCES generations (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_concepts_tenant_id_source_platform_source_id UNIQUE (tenant_id, source_platform, source_id),
  CONSTRAINT ck_concepts_origin CHECK ((origin = 'generated' AND generation_id IS NOT NULL AND source_id IS NULL) OR (origin = 'imported' AND generation_id IS NULL AND source_id IS NOT NULL AND source_platform IS NOT NULL)),
  CONSTRAINT ck_concepts_duration_s CHECK (duration_s >= 0),
  CONSTRAINT fk_concepts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_concepts_tenant_id_created_at ON concepts (tenant_id, created_at);

CREATE INDEX ix_concepts_tenant_id_generation_id ON concepts (tenant_id, generation_id);

CREATE TABLE concept_variants (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  concept_id UUID NOT NULL,
  label TEXT NOT NULL,
  title TEXT NOT NULL,
  caption TEXT NOT NULL,
  hook_source TEXT NOT NULL,
  is_selected BOOLEAN DEFAULT false NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_concept_variants PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_concept_variants_tenant_id_concept_id FOREIGN KEY(tenant_id, concept_id) REFERENCES concepts (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_concept_variants_tenant_id_concept_id_label UNIQUE (tenant_id, concept_id, label),
  CONSTRAINT ck_concept_variants_label CHECK (label ~ '^[A-Z]$'),
  CONSTRAINT ck_concept_variants_hook_source CHECK (hook_source IN ('template', 'evolved', 'knowledge-base')),
  CONSTRAINT fk_concept_variants_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE predictions (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  concept_id UUID NOT NULL,
  platform TEXT NOT NULL,
  score FLOAT(53) NOT NULL,
  low FLOAT(53) NOT NULL,
  high FLOAT(53) NOT NULL,
  engagement_score FLOAT(53) NOT NULL,
  engagement_low FLOAT(53) NOT NULL,
  engagement_high FLOAT(53) NOT NULL,
  reach_score FLOAT(53) NOT NULL,
  reach_low FLOAT(53) NOT NULL,
  reach_high FLOAT(53) NOT NULL,
  reasons JSONB NOT NULL,
  model_version INTEGER NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_predictions PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_predictions_tenant_id_concept_id FOREIGN KEY(tenant_id, concept_id) REFERENCES concepts (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_predictions_tenant_id_concept_id_platform UNIQUE (tenant_id, concept_id, platform),
  CONSTRAINT ck_predictions_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_predictions_band CHECK (0 <= low AND low <= score AND score <= high AND high <= 100),
  CONSTRAINT fk_predictions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

ALTER TABLE trends ENABLE ROW LEVEL SECURITY;

ALTER TABLE trends FORCE ROW LEVEL SECURITY;

CREATE POLICY open_to_all ON trends FOR SELECT TO viral_app, viral_readonly USING (true);

CREATE POLICY system_only ON trends TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON trends TO viral_app;

GRANT SELECT ON trends TO viral_readonly;

GRANT SELECT, INSERT, UPDATE, DELETE ON trends TO viral_system;

ALTER TABLE generations ENABLE ROW LEVEL SECURITY;

ALTER TABLE generations FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON generations TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON generations TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON generations TO viral_app;

GRANT SELECT ON generations TO viral_readonly;

GRANT SELECT ON generations TO viral_auth;

ALTER TABLE concepts ENABLE ROW LEVEL SECURITY;

ALTER TABLE concepts FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON concepts TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY system_select ON concepts FOR SELECT TO viral_system USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON concepts TO viral_app;

GRANT SELECT ON concepts TO viral_readonly;

GRANT SELECT ON concepts TO viral_system;

ALTER TABLE concept_variants ENABLE ROW LEVEL SECURITY;

ALTER TABLE concept_variants FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON concept_variants TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT, UPDATE, DELETE ON concept_variants TO viral_app;

GRANT SELECT ON concept_variants TO viral_readonly;

ALTER TABLE predictions ENABLE ROW LEVEL SECURITY;

ALTER TABLE predictions FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON predictions TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY system_select ON predictions FOR SELECT TO viral_system USING (true);

GRANT SELECT, INSERT ON predictions TO viral_app;

GRANT SELECT ON predictions TO viral_readonly;

GRANT SELECT ON predictions TO viral_system;

SET LOCAL ROLE viral_owner;
