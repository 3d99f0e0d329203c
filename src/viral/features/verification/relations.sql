-- What there is to attack, as one JSON document; {roles} are the roles whose rights are asked for.
WITH roles AS (
  SELECT r.rolname FROM pg_catalog.pg_roles AS r WHERE r.rolname IN ({roles})
), spaces AS (
  SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace AS n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), relations AS (
  SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_catalog.pg_class AS c JOIN spaces AS n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), columns AS (
  SELECT a.attrelid, a.attnum, json_build_object(
    'name', quote_ident(a.attname),
    'type', format_type(a.atttypid, a.atttypmod),
    'is_required', a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
    'is_generated', a.attgenerated <> '' OR a.attidentity = 'a',
    'rights', ARRAY(
      SELECT r.rolname || ':' || p.privilege
      FROM roles AS r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p(privilege)
      WHERE has_column_privilege(r.rolname, a.attrelid, a.attnum, p.privilege)
    )
  ) AS document
  FROM pg_catalog.pg_attribute AS a JOIN relations AS c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND NOT a.attisdropped
), keys AS (
  SELECT i.indrelid, json_build_object(
    'name', i.indexrelid::regclass::text, 'is_primary', i.indisprimary,
    'columns', ARRAY(
      SELECT quote_ident(a.attname) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
      WHERE k.place <= i.indnkeyatts
      ORDER BY k.place
    )
  ) AS document
  FROM pg_catalog.pg_index AS i WHERE i.indisunique
), constraints AS (
  SELECT k.conrelid, k.contype, json_build_object(
    'name', k.conname, 'target', quote_ident(n.nspname) || '.' || quote_ident(t.relname),
    'columns', ARRAY(
      SELECT quote_ident(a.attname) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.number
      ORDER BY u.place
    ),
    'target_columns', ARRAY(
      SELECT quote_ident(a.attname) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, place)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.number
      ORDER BY u.place
    ),
    'condition', pg_get_constraintdef(k.oid)
  ) AS document
  FROM pg_catalog.pg_constraint AS k
  LEFT JOIN pg_catalog.pg_class AS t ON t.oid = k.confrelid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  WHERE k.contype IN ('f', 'c') AND k.conparentid = 0
)
SELECT json_build_object(
  'roles', ARRAY(SELECT r.rolname FROM roles AS r),
  'relations', (
    SELECT coalesce(json_agg(json_build_object(
      'name', c.name, 'schema', c.nspname, 'plain_name', c.relname, 'kind', c.relkind::text,
      'is_partition', c.relispartition, 'is_enabled', c.relrowsecurity,
      'is_forced', c.relforcerowsecurity,
      'is_invokers', coalesce(c.reloptions::text ~ 'security_invoker=(true|on|1)', false),
      'columns', ARRAY(SELECT a.document FROM columns AS a WHERE a.attrelid = c.oid
                       ORDER BY a.attnum),
      'keys', ARRAY(SELECT k.document FROM keys AS k WHERE k.indrelid = c.oid),
      'references', ARRAY(SELECT k.document FROM constraints AS k
                          WHERE k.conrelid = c.oid AND k.contype = 'f'),
      'checks', ARRAY(SELECT k.document FROM constraints AS k
                      WHERE k.conrelid = c.oid AND k.contype = 'c')
    ) ORDER BY c.name), '[]') FROM relations AS c
  ),
  'sequences', ARRAY(
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class AS c JOIN spaces AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S'
  ),
  'routines', (
    SELECT coalesce(json_agg(json_build_object(
      'name', format('%I.%I', n.nspname, p.proname),
      'signature', p.oid::regprocedure::text,
      'argument_types', ARRAY(SELECT format_type(t.type, NULL)
                              FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t(type, place)
                              ORDER BY t.place),
      'argument_names', coalesce(p.proargnames[:p.pronargs], '{}'),
      'callers', ARRAY(SELECT r.rolname FROM roles AS r
                       WHERE has_function_privilege(r.rolname, p.oid, 'EXECUTE'))
                 || CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE')
                    THEN ARRAY['PUBLIC'::name] ELSE '{}' END,
      'has_fixed_path', coalesce(p.proconfig::text ~ 'search_path=', false)
    ) ORDER BY p.oid::regprocedure::text), '[]')
    FROM pg_catalog.pg_proc AS p JOIN spaces AS n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND p.prokind = 'f' AND p.prorettype <> 'pg_catalog.trigger'::regtype
  )
)::text
