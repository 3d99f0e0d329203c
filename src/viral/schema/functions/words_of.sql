-- The words of a concept for its index: what stands in its texts, in any case, and its tags behind a
-- slash, each behind eight digits of the tenant's id. So a search reads the words of one tenant, and
-- takes as long whatever others wrote. Signs part words: the parser would take "salt/pepper" for one.
CREATE FUNCTION viral.words_of(of_tenant uuid, texts text, script jsonb, tags text[])
RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 SET search_path = ''
AS $$
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
$$
