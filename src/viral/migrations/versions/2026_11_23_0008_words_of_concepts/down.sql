-- Take back: Words of concepts.

-- step: expand: create function viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer), drop grant column public.performance_feedback.concept_id to viral_auth and 5 more
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

REVOKE ALL (concept_id) ON public.performance_feedback FROM viral_auth;

REVOKE ALL (tenant_id) ON public.performance_feedback FROM viral_auth;

REVOKE ALL (concept_id) ON public.predictions FROM viral_auth;

REVOKE ALL (platform) ON public.predictions FROM viral_auth;

REVOKE ALL (tenant_id) ON public.predictions FROM viral_auth;

SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer) TO viral_app;

SET LOCAL ROLE viral_owner;

-- step: contract: drop policy public.performance_feedback.functions
DROP POLICY functions ON public.performance_feedback;

-- step: contract: drop policy public.predictions.functions
DROP POLICY functions ON public.predictions;

-- step: contract: drop public.ix_concepts_words, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_concepts_words;

-- step: contract: drop function viral.search_concepts(text[], text, text, boolean, boolean, timestamp with time zone, uuid, integer), drop function viral.words_of(uuid, text, jsonb, text[])
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.search_concepts(text[], text, text, boolean, boolean, timestamp with time zone, uuid, integer);

SET LOCAL ROLE viral_owner;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.words_of(uuid, text, jsonb, text[]);
