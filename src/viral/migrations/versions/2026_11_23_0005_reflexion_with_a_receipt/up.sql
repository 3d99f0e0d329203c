-- Reflexion with a receipt.

-- step: expand: create function viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer), create public.experiments and 6 more
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.search_concepts(patterns text[], in_category text, only_favorites boolean, before_at timestamp with time zone, before_id uuid, most integer)
 RETURNS TABLE(id uuid, created_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT c.id, c.created_at
  FROM public.concepts AS c
  WHERE c.tenant_id = (SELECT viral.tenant_id())
    AND c.origin = 'generated'
    AND (in_category IS NULL OR c.category = in_category)
    AND (NOT only_favorites OR c.is_favorite)
    AND (before_at IS NULL OR (c.created_at, c.id) < (before_at, before_id))
    AND concat_ws(E'\n', c.title, c.hook, c.caption, c.script::text) ILIKE ALL (patterns)
  ORDER BY c.created_at DESC, c.id DESC
  LIMIT least(most, 200)
$function$
;

REVOKE ALL ON FUNCTION viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE TABLE public.experiments (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  name text NOT NULL,
  platform text NOT NULL,
  arms jsonb NOT NULL,
  alpha double precision DEFAULT '0.05'::double precision NOT NULL,
  most_posts integer DEFAULT 200 NOT NULL,
  status text DEFAULT 'running'::text NOT NULL,
  winner text,
  document jsonb DEFAULT '{}'::jsonb NOT NULL,
  decided_at timestamp with time zone,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT ck_experiments_limits CHECK (((alpha > (0)::double precision) AND (alpha < (1)::double precision) AND (most_posts > 0))),
  CONSTRAINT ck_experiments_platform CHECK ((platform = ANY (ARRAY['tiktok'::text, 'youtube'::text, 'instagram'::text]))),
  CONSTRAINT ck_experiments_status CHECK ((status = ANY (ARRAY['running'::text, 'decided'::text, 'undecided'::text, 'stopped'::text]))),
  CONSTRAINT ck_experiments_winner CHECK ((winner ~ '^[A-Z]$'::text)),
  CONSTRAINT fk_experiments_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE,
  CONSTRAINT pk_experiments PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_experiments_tenant_id_name UNIQUE (tenant_id, name)
);

ALTER TABLE public.experiments ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.experiments FORCE ROW LEVEL SECURITY;

CREATE TABLE public.insight_firings (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  insight_id uuid NOT NULL,
  feedback_id uuid NOT NULL,
  applied_no bigint NOT NULL,
  residual double precision NOT NULL,
  contrast double precision NOT NULL,
  CONSTRAINT fk_insight_firings_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE,
  CONSTRAINT fk_insight_firings_tenant_id_feedback_id FOREIGN KEY (tenant_id, feedback_id) REFERENCES performance_feedback(tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_insight_firings_tenant_id_insight_id FOREIGN KEY (tenant_id, insight_id) REFERENCES reflexion_insights(tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT pk_insight_firings PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_insight_firings_tenant_id_insight_id_feedback_id UNIQUE (tenant_id, insight_id, feedback_id)
);

ALTER TABLE public.insight_firings ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.insight_firings FORCE ROW LEVEL SECURITY;

CREATE TABLE public.trend_observations (
  trend_id uuid NOT NULL,
  observed_at timestamp with time zone NOT NULL,
  score double precision NOT NULL,
  engagement_count bigint,
  CONSTRAINT ck_trend_observations_score CHECK (((score >= (0)::double precision) AND (score <= (100)::double precision))),
  CONSTRAINT fk_trend_observations_trend_id FOREIGN KEY (trend_id) REFERENCES trends(id) ON DELETE CASCADE,
  CONSTRAINT pk_trend_observations PRIMARY KEY (trend_id, observed_at)
);

ALTER TABLE public.trend_observations ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.trend_observations FORCE ROW LEVEL SECURITY;

CREATE TABLE public.trend_sources (
  name text NOT NULL,
  kind text NOT NULL,
  url text,
  category text,
  region text,
  is_enabled boolean DEFAULT true NOT NULL,
  etag text,
  last_modified text,
  fetched_at timestamp with time zone,
  next_fetch_at timestamp with time zone DEFAULT now() NOT NULL,
  failures integer DEFAULT 0 NOT NULL,
  last_error text,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT ck_trend_sources_failures CHECK ((failures >= 0)),
  CONSTRAINT ck_trend_sources_name CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,59}$'::text)),
  CONSTRAINT pk_trend_sources PRIMARY KEY (name)
);

ALTER TABLE public.trend_sources ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.trend_sources FORCE ROW LEVEL SECURITY;

ALTER TABLE public.concept_variants ADD COLUMN experiment_id uuid;

ALTER TABLE public.concept_variants ADD COLUMN hook text;

ALTER TABLE public.concept_variants ADD COLUMN hook_type text;

-- step: expand: add public.concepts.is_exploration, add public.concepts.propensity
ALTER TABLE public.concepts ADD COLUMN is_exploration boolean DEFAULT false NOT NULL;

ALTER TABLE public.concepts ADD COLUMN propensity double precision;

-- step: expand: add public.generations.cost, add public.generations.input_tokens and 1 more
ALTER TABLE public.generations ADD COLUMN cost numeric(10,4) DEFAULT '0'::numeric NOT NULL;

ALTER TABLE public.generations ADD COLUMN input_tokens integer DEFAULT 0 NOT NULL;

ALTER TABLE public.generations ADD COLUMN output_tokens integer DEFAULT 0 NOT NULL;

-- step: expand: add public.learner_effects.former
ALTER TABLE public.learner_effects ADD COLUMN former double precision;

-- step: expand: add public.performance_feedback.challenger_error, add public.performance_feedback.champion_error and 2 more
ALTER TABLE public.performance_feedback ADD COLUMN challenger_error double precision;

ALTER TABLE public.performance_feedback ADD COLUMN champion_error double precision;

ALTER TABLE public.performance_feedback ADD COLUMN former_error double precision;

ALTER TABLE public.performance_feedback ADD COLUMN residual double precision;

-- step: expand: add public.reflexion_insights.born_no, add public.reflexion_insights.confidence and 9 more
ALTER TABLE public.reflexion_insights ADD COLUMN born_no bigint;

ALTER TABLE public.reflexion_insights ADD COLUMN confidence text;

ALTER TABLE public.reflexion_insights ADD COLUMN confirmed_at timestamp with time zone;

ALTER TABLE public.reflexion_insights ADD COLUMN critic text;

ALTER TABLE public.reflexion_insights ADD COLUMN critique_id uuid;

ALTER TABLE public.reflexion_insights ADD COLUMN ended_at timestamp with time zone;

ALTER TABLE public.reflexion_insights ADD COLUMN ended_no bigint;

ALTER TABLE public.reflexion_insights ADD COLUMN gain double precision;

ALTER TABLE public.reflexion_insights ADD COLUMN kind text DEFAULT 'pattern'::text NOT NULL;

ALTER TABLE public.reflexion_insights ADD COLUMN sign integer;

ALTER TABLE public.reflexion_insights ADD COLUMN z double precision;

-- step: expand: add public.scoring_adjustments.after_no, add public.scoring_adjustments.insight_id and 1 more
ALTER TABLE public.scoring_adjustments ADD COLUMN after_no bigint DEFAULT '0'::bigint NOT NULL;

ALTER TABLE public.scoring_adjustments ADD COLUMN insight_id uuid;

ALTER TABLE public.scoring_adjustments ADD COLUMN revert_reason text;

-- step: expand: add public.shared_effects.former
ALTER TABLE public.shared_effects ADD COLUMN former double precision;

-- step: expand: add public.trends.topic_key, add public.trends.velocity
ALTER TABLE public.trends ADD COLUMN topic_key text DEFAULT ''::text NOT NULL;

ALTER TABLE public.trends ADD COLUMN velocity double precision;

-- step: expand: add public.concepts.ck_concepts_propensity
-- at risk: rows of public.concepts that break ck_concepts_propensity: SELECT count(*) FROM public.concepts WHERE NOT (((propensity >= (0)::double precision) AND (propensity <= (1)::double precision)))
ALTER TABLE public.concepts ADD CONSTRAINT ck_concepts_propensity CHECK (((propensity >= (0)::double precision) AND (propensity <= (1)::double precision))) NOT VALID;

-- step: expand: validate public.concepts.ck_concepts_propensity
ALTER TABLE public.concepts VALIDATE CONSTRAINT ck_concepts_propensity;

-- step: expand: add public.reflexion_insights.ck_reflexion_insights_hypothesis
-- at risk: rows of public.reflexion_insights that break ck_reflexion_insights_hypothesis: SELECT count(*) FROM public.reflexion_insights WHERE NOT (((kind = 'pattern'::text) OR ((born_no IS NOT NULL) AND (sign = ANY (ARRAY['-1'::integer, 1])) AND (confidence = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text])))))
ALTER TABLE public.reflexion_insights ADD CONSTRAINT ck_reflexion_insights_hypothesis CHECK (((kind = 'pattern'::text) OR ((born_no IS NOT NULL) AND (sign = ANY (ARRAY['-1'::integer, 1])) AND (confidence = ANY (ARRAY['low'::text, 'medium'::text, 'high'::text]))))) NOT VALID;

-- step: expand: validate public.reflexion_insights.ck_reflexion_insights_hypothesis
ALTER TABLE public.reflexion_insights VALIDATE CONSTRAINT ck_reflexion_insights_hypothesis;

-- step: expand: add public.reflexion_insights.ck_reflexion_insights_kind
-- at risk: rows of public.reflexion_insights that break ck_reflexion_insights_kind: SELECT count(*) FROM public.reflexion_insights WHERE NOT ((kind = ANY (ARRAY['pattern'::text, 'hypothesis'::text])))
ALTER TABLE public.reflexion_insights ADD CONSTRAINT ck_reflexion_insights_kind CHECK ((kind = ANY (ARRAY['pattern'::text, 'hypothesis'::text]))) NOT VALID;

-- step: expand: validate public.reflexion_insights.ck_reflexion_insights_kind
ALTER TABLE public.reflexion_insights VALIDATE CONSTRAINT ck_reflexion_insights_kind;

-- step: expand: build public.ix_concept_variants_tenant_id_experiment_id, outside a transaction
CREATE INDEX CONCURRENTLY ix_concept_variants_tenant_id_experiment_id ON public.concept_variants USING btree (tenant_id, experiment_id);

-- step: expand: build public.ix_experiments_tenant_id_status, build public.ix_insight_firings_tenant_id_feedback_id
CREATE INDEX ix_experiments_tenant_id_status ON public.experiments USING btree (tenant_id, status);

CREATE INDEX ix_insight_firings_tenant_id_feedback_id ON public.insight_firings USING btree (tenant_id, feedback_id);

-- step: expand: build public.ix_reflexion_insights_hypotheses, outside a transaction
CREATE INDEX CONCURRENTLY ix_reflexion_insights_hypotheses ON public.reflexion_insights USING btree (platform, tenant_id) WHERE (kind = 'hypothesis'::text);

-- step: expand: build public.ix_reflexion_insights_tenant_id_critique_id, outside a transaction
CREATE INDEX CONCURRENTLY ix_reflexion_insights_tenant_id_critique_id ON public.reflexion_insights USING btree (tenant_id, critique_id);

-- step: expand: build public.ix_scoring_adjustments_tenant_id_insight_id, outside a transaction
CREATE INDEX CONCURRENTLY ix_scoring_adjustments_tenant_id_insight_id ON public.scoring_adjustments USING btree (tenant_id, insight_id);

-- step: expand: build public.ix_trend_observations_observed_at
CREATE INDEX ix_trend_observations_observed_at ON public.trend_observations USING btree (observed_at);

-- step: expand: build public.ix_trends_topic_key, outside a transaction
CREATE INDEX CONCURRENTLY ix_trends_topic_key ON public.trends USING btree (topic_key);

-- step: expand: add public.concept_variants.fk_concept_variants_tenant_id_experiment_id
-- at risk: rows of public.concept_variants that point nowhere: SELECT count(*) FROM public.concept_variants AS child WHERE child.tenant_id IS NOT NULL AND child.experiment_id IS NOT NULL AND NOT EXISTS (SELECT FROM experiments AS parent WHERE parent.tenant_id = child.tenant_id AND parent.id = child.experiment_id)
ALTER TABLE public.concept_variants ADD CONSTRAINT fk_concept_variants_tenant_id_experiment_id FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments(tenant_id, id) NOT VALID;

-- step: expand: validate public.concept_variants.fk_concept_variants_tenant_id_experiment_id
-- in sight: public.concept_variants, public.experiments
ALTER TABLE public.concept_variants VALIDATE CONSTRAINT fk_concept_variants_tenant_id_experiment_id;

-- step: expand: add public.reflexion_insights.fk_reflexion_insights_tenant_id_critique_id
-- at risk: rows of public.reflexion_insights that point nowhere: SELECT count(*) FROM public.reflexion_insights AS child WHERE child.tenant_id IS NOT NULL AND child.critique_id IS NOT NULL AND NOT EXISTS (SELECT FROM self_critiques AS parent WHERE parent.tenant_id = child.tenant_id AND parent.id = child.critique_id)
ALTER TABLE public.reflexion_insights ADD CONSTRAINT fk_reflexion_insights_tenant_id_critique_id FOREIGN KEY (tenant_id, critique_id) REFERENCES self_critiques(tenant_id, id) NOT VALID;

-- step: expand: validate public.reflexion_insights.fk_reflexion_insights_tenant_id_critique_id
-- in sight: public.reflexion_insights, public.self_critiques
ALTER TABLE public.reflexion_insights VALIDATE CONSTRAINT fk_reflexion_insights_tenant_id_critique_id;

-- step: expand: add public.scoring_adjustments.fk_scoring_adjustments_tenant_id_insight_id
-- at risk: rows of public.scoring_adjustments that point nowhere: SELECT count(*) FROM public.scoring_adjustments AS child WHERE child.tenant_id IS NOT NULL AND child.insight_id IS NOT NULL AND NOT EXISTS (SELECT FROM reflexion_insights AS parent WHERE parent.tenant_id = child.tenant_id AND parent.id = child.insight_id)
ALTER TABLE public.scoring_adjustments ADD CONSTRAINT fk_scoring_adjustments_tenant_id_insight_id FOREIGN KEY (tenant_id, insight_id) REFERENCES reflexion_insights(tenant_id, id) NOT VALID;

-- step: expand: validate public.scoring_adjustments.fk_scoring_adjustments_tenant_id_insight_id
-- in sight: public.scoring_adjustments, public.reflexion_insights
ALTER TABLE public.scoring_adjustments VALIDATE CONSTRAINT fk_scoring_adjustments_tenant_id_insight_id;

-- step: expand: create policy public.concept_variants.system_select
CREATE POLICY system_select ON public.concept_variants AS PERMISSIVE FOR SELECT TO viral_system USING (true);

-- step: expand: create policy public.concepts.functions, create policy public.experiments.tenant_only and 1 more
CREATE POLICY functions ON public.concepts AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON public.experiments AS PERMISSIVE FOR ALL TO viral_app, viral_readonly USING ((tenant_id = (SELECT viral.tenant_id()))) WITH CHECK ((tenant_id = (SELECT viral.tenant_id())));

CREATE POLICY tenant_only ON public.insight_firings AS PERMISSIVE FOR ALL TO viral_app, viral_readonly USING ((tenant_id = (SELECT viral.tenant_id()))) WITH CHECK ((tenant_id = (SELECT viral.tenant_id())));

-- step: expand: create policy public.reflexion_insights.system_select, create policy public.trend_observations.open_to_all and 23 more
CREATE POLICY system_select ON public.reflexion_insights AS PERMISSIVE FOR SELECT TO viral_system USING (true);

CREATE POLICY open_to_all ON public.trend_observations AS PERMISSIVE FOR SELECT TO viral_app, viral_readonly USING (true);

CREATE POLICY system_only ON public.trend_observations AS PERMISSIVE FOR ALL TO viral_system USING (true) WITH CHECK (true);

CREATE POLICY open_to_all ON public.trend_sources AS PERMISSIVE FOR SELECT TO viral_app, viral_readonly USING (true);

CREATE POLICY system_only ON public.trend_sources AS PERMISSIVE FOR ALL TO viral_system USING (true) WITH CHECK (true);

GRANT UPDATE (former) ON public.learner_effects TO viral_app;

GRANT UPDATE (challenger_error) ON public.performance_feedback TO viral_system;

GRANT UPDATE (champion_error) ON public.performance_feedback TO viral_system;

GRANT UPDATE (former_error) ON public.performance_feedback TO viral_system;

GRANT UPDATE (residual) ON public.performance_feedback TO viral_system;

GRANT UPDATE (revert_reason) ON public.scoring_adjustments TO viral_app;

SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer) TO viral_app;

SET LOCAL ROLE viral_owner;

GRANT SELECT ON public.concept_variants TO viral_system;

GRANT SELECT ON public.concepts TO viral_auth;

GRANT DELETE, INSERT, SELECT, UPDATE ON public.experiments TO viral_app;

GRANT SELECT ON public.experiments TO viral_readonly;

GRANT DELETE, INSERT, SELECT, UPDATE ON public.insight_firings TO viral_app;

GRANT SELECT ON public.insight_firings TO viral_readonly;

GRANT SELECT ON public.reflexion_insights TO viral_system;

GRANT SELECT ON public.trend_observations TO viral_app;

GRANT SELECT ON public.trend_observations TO viral_readonly;

GRANT DELETE, INSERT, SELECT ON public.trend_observations TO viral_system;

GRANT SELECT ON public.trend_sources TO viral_app;

GRANT SELECT ON public.trend_sources TO viral_readonly;

GRANT DELETE, INSERT, SELECT, UPDATE ON public.trend_sources TO viral_system;
