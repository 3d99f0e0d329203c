-- Take back: Reflexion with a receipt.

-- step: expand: drop grant table public.concept_variants to viral_system, drop grant table public.concepts to viral_auth and 1 more
REVOKE ALL ON public.concept_variants FROM viral_system;

REVOKE ALL ON public.concepts FROM viral_auth;

REVOKE ALL ON public.reflexion_insights FROM viral_system;

-- step: contract: drop policy public.concept_variants.system_select
DROP POLICY system_select ON public.concept_variants;

-- step: contract: drop policy public.concepts.functions
DROP POLICY functions ON public.concepts;

-- step: contract: drop policy public.reflexion_insights.system_select
DROP POLICY system_select ON public.reflexion_insights;

-- step: contract: drop public.concept_variants.fk_concept_variants_tenant_id_experiment_id
ALTER TABLE public.concept_variants DROP CONSTRAINT fk_concept_variants_tenant_id_experiment_id;

-- step: contract: drop public.experiments.fk_experiments_tenant_id
ALTER TABLE public.experiments DROP CONSTRAINT fk_experiments_tenant_id;

-- step: contract: drop public.insight_firings.fk_insight_firings_tenant_id, drop public.insight_firings.fk_insight_firings_tenant_id_feedback_id and 1 more
ALTER TABLE public.insight_firings DROP CONSTRAINT fk_insight_firings_tenant_id;

ALTER TABLE public.insight_firings DROP CONSTRAINT fk_insight_firings_tenant_id_feedback_id;

ALTER TABLE public.insight_firings DROP CONSTRAINT fk_insight_firings_tenant_id_insight_id;

-- step: contract: drop public.reflexion_insights.fk_reflexion_insights_tenant_id_critique_id
ALTER TABLE public.reflexion_insights DROP CONSTRAINT fk_reflexion_insights_tenant_id_critique_id;

-- step: contract: drop public.scoring_adjustments.fk_scoring_adjustments_tenant_id_insight_id
ALTER TABLE public.scoring_adjustments DROP CONSTRAINT fk_scoring_adjustments_tenant_id_insight_id;

-- step: contract: drop public.trend_observations.fk_trend_observations_trend_id
ALTER TABLE public.trend_observations DROP CONSTRAINT fk_trend_observations_trend_id;

-- step: contract: drop public.concepts.ck_concepts_propensity
ALTER TABLE public.concepts DROP CONSTRAINT ck_concepts_propensity;

-- step: contract: drop public.reflexion_insights.ck_reflexion_insights_hypothesis, drop public.reflexion_insights.ck_reflexion_insights_kind
ALTER TABLE public.reflexion_insights DROP CONSTRAINT ck_reflexion_insights_hypothesis;

ALTER TABLE public.reflexion_insights DROP CONSTRAINT ck_reflexion_insights_kind;

-- step: contract: drop public.ix_concept_variants_tenant_id_experiment_id, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_concept_variants_tenant_id_experiment_id;

-- step: contract: drop public.ix_reflexion_insights_hypotheses, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_reflexion_insights_hypotheses;

-- step: contract: drop public.ix_reflexion_insights_tenant_id_critique_id, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_reflexion_insights_tenant_id_critique_id;

-- step: contract: drop public.ix_scoring_adjustments_tenant_id_insight_id, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_scoring_adjustments_tenant_id_insight_id;

-- step: contract: drop public.ix_trends_topic_key, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_trends_topic_key;

-- step: contract: drop public.concept_variants.experiment_id, drop public.concept_variants.hook and 1 more
-- at risk: values of public.concept_variants.experiment_id: SELECT count(*) FROM public.concept_variants WHERE experiment_id IS NOT NULL
-- at risk: values of public.concept_variants.hook: SELECT count(*) FROM public.concept_variants WHERE hook IS NOT NULL
-- at risk: values of public.concept_variants.hook_type: SELECT count(*) FROM public.concept_variants WHERE hook_type IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.concept_variants DROP COLUMN experiment_id;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.concept_variants DROP COLUMN hook;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.concept_variants DROP COLUMN hook_type;

-- step: contract: drop public.concepts.is_exploration, drop public.concepts.propensity
-- at risk: values of public.concepts.is_exploration: SELECT count(*) FROM public.concepts WHERE is_exploration IS NOT NULL
-- at risk: values of public.concepts.propensity: SELECT count(*) FROM public.concepts WHERE propensity IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.concepts DROP COLUMN is_exploration;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.concepts DROP COLUMN propensity;

-- step: contract: drop public.generations.cost, drop public.generations.input_tokens and 1 more
-- at risk: values of public.generations.cost: SELECT count(*) FROM public.generations WHERE cost IS NOT NULL
-- at risk: values of public.generations.input_tokens: SELECT count(*) FROM public.generations WHERE input_tokens IS NOT NULL
-- at risk: values of public.generations.output_tokens: SELECT count(*) FROM public.generations WHERE output_tokens IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.generations DROP COLUMN cost;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.generations DROP COLUMN input_tokens;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.generations DROP COLUMN output_tokens;

-- step: contract: drop public.learner_effects.former
-- at risk: values of public.learner_effects.former: SELECT count(*) FROM public.learner_effects WHERE former IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.learner_effects DROP COLUMN former;

-- step: contract: drop public.performance_feedback.challenger_error, drop public.performance_feedback.champion_error and 2 more
-- at risk: values of public.performance_feedback.challenger_error: SELECT count(*) FROM public.performance_feedback WHERE challenger_error IS NOT NULL
-- at risk: values of public.performance_feedback.champion_error: SELECT count(*) FROM public.performance_feedback WHERE champion_error IS NOT NULL
-- at risk: values of public.performance_feedback.former_error: SELECT count(*) FROM public.performance_feedback WHERE former_error IS NOT NULL
-- at risk: values of public.performance_feedback.residual: SELECT count(*) FROM public.performance_feedback WHERE residual IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.performance_feedback DROP COLUMN challenger_error;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.performance_feedback DROP COLUMN champion_error;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.performance_feedback DROP COLUMN former_error;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.performance_feedback DROP COLUMN residual;

-- step: contract: drop public.reflexion_insights.born_no, drop public.reflexion_insights.confidence and 9 more
-- at risk: values of public.reflexion_insights.born_no: SELECT count(*) FROM public.reflexion_insights WHERE born_no IS NOT NULL
-- at risk: values of public.reflexion_insights.confidence: SELECT count(*) FROM public.reflexion_insights WHERE confidence IS NOT NULL
-- at risk: values of public.reflexion_insights.confirmed_at: SELECT count(*) FROM public.reflexion_insights WHERE confirmed_at IS NOT NULL
-- at risk: values of public.reflexion_insights.critic: SELECT count(*) FROM public.reflexion_insights WHERE critic IS NOT NULL
-- at risk: values of public.reflexion_insights.critique_id: SELECT count(*) FROM public.reflexion_insights WHERE critique_id IS NOT NULL
-- at risk: values of public.reflexion_insights.ended_at: SELECT count(*) FROM public.reflexion_insights WHERE ended_at IS NOT NULL
-- at risk: values of public.reflexion_insights.ended_no: SELECT count(*) FROM public.reflexion_insights WHERE ended_no IS NOT NULL
-- at risk: values of public.reflexion_insights.gain: SELECT count(*) FROM public.reflexion_insights WHERE gain IS NOT NULL
-- at risk: values of public.reflexion_insights.kind: SELECT count(*) FROM public.reflexion_insights WHERE kind IS NOT NULL
-- at risk: values of public.reflexion_insights.sign: SELECT count(*) FROM public.reflexion_insights WHERE sign IS NOT NULL
-- at risk: values of public.reflexion_insights.z: SELECT count(*) FROM public.reflexion_insights WHERE z IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN born_no;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN confidence;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN confirmed_at;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN critic;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN critique_id;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN ended_at;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN ended_no;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN gain;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN kind;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN sign;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.reflexion_insights DROP COLUMN z;

-- step: contract: drop public.scoring_adjustments.after_no, drop public.scoring_adjustments.insight_id and 1 more
-- at risk: values of public.scoring_adjustments.after_no: SELECT count(*) FROM public.scoring_adjustments WHERE after_no IS NOT NULL
-- at risk: values of public.scoring_adjustments.insight_id: SELECT count(*) FROM public.scoring_adjustments WHERE insight_id IS NOT NULL
-- at risk: values of public.scoring_adjustments.revert_reason: SELECT count(*) FROM public.scoring_adjustments WHERE revert_reason IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.scoring_adjustments DROP COLUMN after_no;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.scoring_adjustments DROP COLUMN insight_id;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.scoring_adjustments DROP COLUMN revert_reason;

-- step: contract: drop public.shared_effects.former
-- at risk: values of public.shared_effects.former: SELECT count(*) FROM public.shared_effects WHERE former IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.shared_effects DROP COLUMN former;

-- step: contract: drop public.trends.topic_key, drop public.trends.velocity
-- at risk: values of public.trends.topic_key: SELECT count(*) FROM public.trends WHERE topic_key IS NOT NULL
-- at risk: values of public.trends.velocity: SELECT count(*) FROM public.trends WHERE velocity IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.trends DROP COLUMN topic_key;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.trends DROP COLUMN velocity;

-- step: contract: drop public.experiments, public.insight_firings, public.trend_observations, public.trend_sources, drop function viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer)
-- at risk: rows of public.experiments: SELECT count(*) FROM public.experiments
-- at risk: rows of public.insight_firings: SELECT count(*) FROM public.insight_firings
-- at risk: rows of public.trend_observations: SELECT count(*) FROM public.trend_observations
-- at risk: rows of public.trend_sources: SELECT count(*) FROM public.trend_sources
-- lint: ban-drop-table: the models do not have this table
DROP TABLE public.experiments, public.insight_firings, public.trend_observations, public.trend_sources;

SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer);

SET LOCAL ROLE viral_owner;
