-- Words of concepts.

-- step: expand: create function viral.search_concepts(text[], text, text, boolean, boolean, timestamp with time zone, uuid, integer), create function viral.words_of(uuid, text, jsonb, text[])
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.search_concepts(words text[], in_category text, on_platform text, has_result boolean, only_favorites boolean, before_at timestamp with time zone, before_id uuid, most integer)
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  tenant CONSTANT uuid := viral.tenant_id();
  at_once CONSTANT integer := least(most, 201);
  patterns text[];
  signed text[];
  asked tsquery;
  looked_at integer;
  found uuid[];
BEGIN
  SELECT array_agg(p.pattern), array_agg(p.pattern) FILTER (WHERE p.word ~ '[^[:alnum:]]')
  INTO patterns, signed
  FROM (
    SELECT w.word, '%' || regexp_replace(w.word, '([\\%_])', '\\\1', 'g') || '%' AS pattern
    FROM unnest(words) AS w (word)
  ) AS p;
  SELECT string_agg(quote_literal(w.word) || ':*', ' & ')::tsquery
  INTO asked
  FROM unnest(tsvector_to_array(viral.words_of(tenant, array_to_string(words, ' '), '[]', '{}')))
    AS w (word);
  FOREACH looked_at IN ARRAY CASE WHEN asked IS NULL THEN '{NULL}' ELSE '{200,1000}'::integer[] END
  LOOP
    found := ARRAY(
      SELECT likely.id
      FROM (
        SELECT newest.*
        FROM (
          SELECT c.* FROM public.concepts AS c
          WHERE c.tenant_id = tenant AND c.origin = 'generated'
            AND (before_at IS NULL OR (c.created_at, c.id) < (before_at, before_id))
          ORDER BY c.created_at DESC, c.id DESC
          LIMIT looked_at
        ) AS newest
        WHERE (in_category IS NULL OR newest.category = in_category)
          AND (NOT only_favorites OR newest.is_favorite)
          AND concat_ws(E'\n', newest.title, newest.hook, newest.caption, newest.script::text)
            ILIKE ALL (patterns)
          AND (on_platform IS NULL OR EXISTS (
            SELECT FROM public.predictions AS p
            WHERE p.tenant_id = tenant AND p.concept_id = newest.id AND p.platform = on_platform))
          AND (has_result IS NULL OR has_result = EXISTS (
            SELECT FROM public.performance_feedback AS f
            WHERE f.tenant_id = tenant AND f.concept_id = newest.id))
        ORDER BY newest.created_at DESC, newest.id DESC
        LIMIT CASE WHEN asked IS NOT NULL THEN 100 ELSE at_once END
      ) AS likely
      WHERE asked IS NULL OR viral.words_of(likely.tenant_id,
        likely.title || ' ' || likely.hook || ' ' || likely.caption, likely.script, '{}') @@ asked
      ORDER BY likely.created_at DESC, likely.id DESC
      LIMIT at_once
    );
    -- Where two hundred show a fifth of a page or less, the others would not fill it.
    EXIT WHEN cardinality(found) = at_once OR 5 * cardinality(found) <= at_once;
  END LOOP;
  IF asked IS NULL OR cardinality(found) = at_once THEN
    RETURN QUERY SELECT unnest(found);
    RETURN;
  END IF;
  asked := coalesce(asked && (
    SELECT string_agg(quote_literal(t.word), ' & ')::tsquery
    FROM unnest(tsvector_to_array(viral.words_of(tenant, '', '[]',
      ARRAY[in_category, CASE WHEN only_favorites THEN 'favorite' END]))) AS t (word)
  ), asked);
  RETURN QUERY
    SELECT c.id
    FROM (
      -- OFFSET keeps the planner from walking along another index and making words of every row.
      SELECT * FROM public.concepts AS e
      WHERE e.tenant_id = tenant AND e.origin = 'generated'
        AND viral.words_of(e.tenant_id, e.title || ' ' || e.hook || ' ' || e.caption, e.script,
          ARRAY[e.category, CASE WHEN e.is_favorite THEN 'favorite' END]) @@ asked
      OFFSET 0
    ) AS c
    WHERE (before_at IS NULL OR (c.created_at, c.id) < (before_at, before_id))
      AND (signed IS NULL
        OR concat_ws(E'\n', c.title, c.hook, c.caption, c.script::text) ILIKE ALL (signed))
      AND (on_platform IS NULL OR EXISTS (
        SELECT FROM public.predictions AS p
        WHERE p.tenant_id = tenant AND p.concept_id = c.id AND p.platform = on_platform))
      AND (has_result IS NULL OR has_result = EXISTS (
        SELECT FROM public.performance_feedback AS f
        WHERE f.tenant_id = tenant AND f.concept_id = c.id))
    ORDER BY c.created_at DESC, c.id DESC
    LIMIT at_once;
END
$function$
;

REVOKE ALL ON FUNCTION viral.search_concepts(text[], text, text, boolean, boolean, timestamp with time zone, uuid, integer) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE OR REPLACE FUNCTION viral.words_of(of_tenant uuid, texts text, script jsonb, tags text[])
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE COST 1000
 SET search_path TO ''
AS $function$
  SELECT array_to_tsvector(array_agg(right(of_tenant::text, 8) || found.word))
  FROM (
    SELECT unnest(tsvector_to_array(to_tsvector('pg_catalog.simple',
      replace(replace(replace(replace(replace(replace(
        texts || ' ' || jsonb_path_query_array(script, 'strict $.** ? (@.type() == "string")')::text,
        '/', ' '), '.', ' '), '-', ' '), '<', ' '), '&', ' '), '\n', ' ')
    )))
    UNION ALL
    SELECT '/' || tag FROM unnest(tags) AS tag WHERE tag IS NOT NULL
  ) AS found (word)
$function$
;

REVOKE ALL ON FUNCTION viral.words_of(uuid, text, jsonb, text[]) FROM PUBLIC;

-- Whoever writes a concept makes its words, from the moment at which the index is there.
GRANT EXECUTE ON FUNCTION viral.words_of(uuid, text, jsonb, text[]) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.words_of(uuid, text, jsonb, text[]) TO viral_auth;

-- step: expand: build public.ix_concepts_words, outside a transaction
CREATE INDEX CONCURRENTLY ix_concepts_words ON public.concepts USING gin (viral.words_of(tenant_id, ((((title || ' '::text) || hook) || ' '::text) || caption), script, ARRAY[category,
CASE
    WHEN is_favorite THEN 'favorite'::text
    ELSE NULL::text
END])) WITH (fastupdate=off) WHERE (origin = 'generated'::text);

-- step: expand: create policy public.performance_feedback.functions
CREATE POLICY functions ON public.performance_feedback AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

-- step: expand: create policy public.predictions.functions, create grant column public.performance_feedback.concept_id to viral_auth and 7 more
CREATE POLICY functions ON public.predictions AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT (concept_id) ON public.performance_feedback TO viral_auth;

GRANT SELECT (tenant_id) ON public.performance_feedback TO viral_auth;

GRANT SELECT (concept_id) ON public.predictions TO viral_auth;

GRANT SELECT (platform) ON public.predictions TO viral_auth;

GRANT SELECT (tenant_id) ON public.predictions TO viral_auth;

SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.search_concepts(text[], text, text, boolean, boolean, timestamp with time zone, uuid, integer) TO viral_app;

-- step: contract: drop function viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer)
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.search_concepts(text[], text, boolean, timestamp with time zone, uuid, integer);

SET LOCAL ROLE viral_owner;
