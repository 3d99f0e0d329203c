SET LOCAL ROLE viral_owner;

CREATE TABLE model_versions (
  id UUID NOT NULL,
  kind TEXT NOT NULL,
  platform TEXT NOT NULL,
  version INTEGER NOT NULL,
  document JSONB NOT NULL,
  is_current BOOLEAN DEFAULT true NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_model_versions PRIMARY KEY (id),
  CONSTRAINT uq_model_versions_kind_platform_version UNIQUE (kind, platform, version),
  CONSTRAINT ck_model_versions_kind CHECK (kind IN ('outcomes', 'effects')),
  CONSTRAINT ck_model_versions_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram'))
);

CREATE UNIQUE INDEX uq_model_versions_current ON model_versions (kind, platform) WHERE is_current;

CREATE TABLE shared_effects (
  platform TEXT NOT NULL,
  goal TEXT NOT NULL,
  family TEXT NOT NULL,
  key TEXT NOT NULL,
  mean FLOAT(53) NOT NULL,
  variance FLOAT(53) NOT NULL,
  samples BIGINT NOT NULL,
  day INTEGER NOT NULL,
  tenants INTEGER NOT NULL,
  published FLOAT(53) NOT NULL,
  CONSTRAINT pk_shared_effects PRIMARY KEY (platform, goal, family, key),
  CONSTRAINT ck_shared_effects_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_shared_effects_goal CHECK (goal IN ('engagement', 'reach', 'score'))
);

CREATE TABLE learner_effects (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  platform TEXT NOT NULL,
  goal TEXT NOT NULL,
  family TEXT NOT NULL,
  key TEXT NOT NULL,
  mean FLOAT(53) NOT NULL,
  variance FLOAT(53) NOT NULL,
  samples BIGINT NOT NULL,
  day INTEGER NOT NULL,
  published FLOAT(53) DEFAULT '0' NOT NULL,
  is_frozen BOOLEAN DEFAULT false NOT NULL,
  CONSTRAINT pk_learner_effects PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_learner_effects_tenant_id_platform_goal_family_key UNIQUE (tenant_id, platform, goal, family, key),
  CONSTRAINT ck_learner_effects_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_learner_effects_goal CHECK (goal IN ('engagement', 'reach', 'score')),
  CONSTRAINT fk_learner_effects_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE TABLE reflexion_insights (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  category TEXT NOT NULL,
  platform TEXT NOT NULL,
  pattern_key TEXT NOT NULL,
  pattern TEXT NOT NULL,
  evidence_count INTEGER DEFAULT '1' NOT NULL,
  impact TEXT NOT NULL,
  effect_size FLOAT(53) NOT NULL,
  low FLOAT(53) NOT NULL,
  high FLOAT(53) NOT NULL,
  status TEXT DEFAULT 'candidate' NOT NULL,
  recommendation TEXT NOT NULL,
  applied_to_scoring BOOLEAN DEFAULT false NOT NULL,
  discovered_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_reflexion_insights PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_reflexion_insights_tenant_id_category_platform_pattern_key UNIQUE (tenant_id, category, platform, pattern_key),
  CONSTRAINT ck_reflexion_insights_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_reflexion_insights_impact CHECK (impact IN ('positive', 'negative', 'neutral')),
  CONSTRAINT ck_reflexion_insights_status CHECK (status IN ('candidate', 'confirmed', 'refuted', 'retired')),
  CONSTRAINT ck_reflexion_insights_pattern_key CHECK (length(pattern_key) <= 200),
  CONSTRAINT fk_reflexion_insights_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_reflexion_insights_tenant_id_applied_to_scoring ON reflexion_insights (tenant_id, applied_to_scoring);

CREATE TABLE self_critiques (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  concept_id UUID,
  feedback_id UUID,
  performance_gap JSONB NOT NULL,
  critique TEXT NOT NULL,
  hypothesized_reasons JSONB NOT NULL,
  scoring_issues JSONB NOT NULL,
  adjustment_plan TEXT NOT NULL,
  confidence_level TEXT NOT NULL,
  critic TEXT NOT NULL,
  critic_version INTEGER DEFAULT '1' NOT NULL,
  input_tokens INTEGER DEFAULT '0' NOT NULL,
  output_tokens INTEGER DEFAULT '0' NOT NULL,
  cost NUMERIC(10, 4) DEFAULT '0' NOT NULL,
  applied_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_self_critiques PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_self_critiques_tenant_id_concept_id FOREIGN KEY(tenant_id, concept_id) REFERENCES concepts (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_self_critiques_tenant_id_feedback_id FOREIGN KEY(tenant_id, feedback_id) REFERENCES performance_feedback (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_self_critiques_tenant_id_feedback_id_critic_critic_version UNIQUE (tenant_id, feedback_id, critic, critic_version),
  CONSTRAINT ck_self_critiques_confidence_level CHECK (confidence_level IN ('low', 'medium', 'high')),
  CONSTRAINT fk_self_critiques_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_self_critiques_tenant_id_concept_id ON self_critiques (tenant_id, concept_id);

CREATE INDEX ix_self_critiques_tenant_id_confidence_level ON self_critiques (tenant_id, confidence_level);

CREATE INDEX ix_self_critiques_tenant_id_created_at ON self_critiques (tenant_id, created_at);

CREATE TABLE scoring_adjustments (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  critique_id UUID NOT NULL,
  platform TEXT NOT NULL,
  goal TEXT NOT NULL,
  adjustment_type TEXT NOT NULL,
  category TEXT NOT NULL,
  old_value FLOAT(53) NOT NULL,
  new_value FLOAT(53) NOT NULL,
  reason TEXT NOT NULL,
  evidence JSONB NOT NULL,
  applied_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  reverted_at TIMESTAMP WITH TIME ZONE,
  reverted_by UUID,
  CONSTRAINT pk_scoring_adjustments PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_scoring_adjustments_tenant_id_critique_id FOREIGN KEY(tenant_id, critique_id) REFERENCES self_critiques (tenant_id, id),
  CONSTRAINT fk_scoring_adjustments_tenant_id_reverted_by FOREIGN KEY(tenant_id, reverted_by) REFERENCES memberships (tenant_id, user_id),
  CONSTRAINT ck_scoring_adjustments_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_scoring_adjustments_goal CHECK (goal IN ('engagement', 'reach', 'score')),
  CONSTRAINT fk_scoring_adjustments_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_scoring_adjustments_tenant_id_applied_at ON scoring_adjustments (tenant_id, applied_at);

CREATE INDEX ix_scoring_adjustments_tenant_id_category ON scoring_adjustments (tenant_id, category);

CREATE INDEX ix_scoring_adjustments_tenant_id_critique_id ON scoring_adjustments (tenant_id, critique_id);

CREATE INDEX ix_scoring_adjustments_tenant_id_reverted_by ON scoring_adjustments (tenant_id, reverted_by);

ALTER TABLE model_versions ENABLE ROW LEVEL SECURITY;

ALTER TABLE model_versions FORCE ROW LEVEL SECURITY;

CREATE POLICY open_to_all ON model_versions FOR SELECT TO viral_app, viral_readonly USING (true);

CREATE POLICY system_only ON model_versions TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON model_versions TO viral_app;

GRANT SELECT ON model_versions TO viral_readonly;

GRANT SELECT, INSERT, UPDATE ON model_versions TO viral_system;

ALTER TABLE shared_effects ENABLE ROW LEVEL SECURITY;

ALTER TABLE shared_effects FORCE ROW LEVEL SECURITY;

CREATE POLICY open_to_all ON shared_effects FOR SELECT TO viral_app, viral_readonly USING (true);

CREATE POLICY system_only ON shared_effects TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON shared_effects TO viral_app;

GRANT SELECT ON shared_effects TO viral_readonly;

GRANT SELECT, INSERT, UPDATE, DELETE ON shared_effects TO viral_system;

ALTER TABLE learner_effects ENABLE ROW LEVEL SECURITY;

ALTER TABLE learner_effects FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON learner_effects TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY system_all ON learner_effects TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON learner_effects TO viral_app;

GRANT UPDATE (published, is_frozen) ON learner_effects TO viral_app;

GRANT SELECT ON learner_effects TO viral_readonly;

GRANT SELECT, INSERT, DELETE ON learner_effects TO viral_system;

GRANT UPDATE (mean, variance, samples, day) ON learner_effects TO viral_system;

ALTER TABLE reflexion_insights ENABLE ROW LEVEL SECURITY;

ALTER TABLE reflexion_insights FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON reflexion_insights TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT, UPDATE ON reflexion_insights TO viral_app;

GRANT SELECT ON reflexion_insights TO viral_readonly;

ALTER TABLE self_critiques ENABLE ROW LEVEL SECURITY;

ALTER TABLE self_critiques FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON self_critiques TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT ON self_critiques TO viral_app;

GRANT UPDATE (applied_at) ON self_critiques TO viral_app;

GRANT SELECT ON self_critiques TO viral_readonly;

ALTER TABLE scoring_adjustments ENABLE ROW LEVEL SECURITY;

ALTER TABLE scoring_adjustments FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON scoring_adjustments TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT ON scoring_adjustments TO viral_app;

GRANT UPDATE (reverted_at, reverted_by) ON scoring_adjustments TO viral_app;

GRANT SELECT ON scoring_adjustments TO viral_readonly;

SET LOCAL ROLE viral_owner;
