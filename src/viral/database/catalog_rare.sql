-- What few schemas have: operators, casts, collations, text search, languages, access methods.
-- Rows as in catalog_tables.sql.

SELECT r.kind, r.name, jsonb_strip_nulls(said.parts), '{}'::jsonb
FROM rare AS r
JOIN (
  SELECT 'pg_catalog.pg_cast'::regclass AS class, c.oid, jsonb_build_object(
    'function', nullif(c.castfunc, 0)::regprocedure::text,
    'method', CASE c.castmethod WHEN 'f' THEN 'function' WHEN 'i' THEN 'text' ELSE 'binary' END,
    'context', CASE c.castcontext WHEN 'e' THEN 'explicit' WHEN 'a' THEN 'assignment'
                 ELSE 'implicit' END) AS parts
  FROM pg_catalog.pg_cast AS c WHERE c.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_operator'::regclass, o.oid, jsonb_build_object(
    'owner', o.oprowner::regrole::text, 'function', o.oprcode::regprocedure::text,
    'commutator', nullif(o.oprcom, 0)::regoperator::text,
    'negator', nullif(o.oprnegate, 0)::regoperator::text,
    'restrict', nullif(o.oprrest, 0)::regproc::text, 'join', nullif(o.oprjoin, 0)::regproc::text,
    'hashes', nullif(o.oprcanhash, false), 'merges', nullif(o.oprcanmerge, false))
  FROM pg_catalog.pg_operator AS o WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_opclass'::regclass, o.oid, jsonb_build_object(
    'owner', o.opcowner::regrole::text, 'type', o.opcintype::regtype::text,
    'stored as', nullif(o.opckeytype, 0)::regtype::text, 'default', nullif(o.opcdefault, false),
    'family', f.opfname)
  FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_opfamily AS f ON f.oid = o.opcfamily
  WHERE o.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::regclass, f.oid, jsonb_build_object(
    'owner', f.opfowner::regrole::text,
    'operators', (SELECT to_jsonb(array_agg(format('%s %s%s', o.amopstrategy, o.amopopr::regoperator,
                    ' order by ' || s.opfname) ORDER BY o.amopstrategy, o.amopopr::regoperator::text))
                  FROM pg_catalog.pg_amop AS o
                  LEFT JOIN pg_catalog.pg_opfamily AS s ON s.oid = o.amopsortfamily
                  WHERE o.amopfamily = f.oid),
    'functions', (SELECT to_jsonb(array_agg(format('%s %s (%s, %s)', p.amprocnum,
                    p.amproc::regprocedure, p.amproclefttype::regtype, p.amprocrighttype::regtype)
                    ORDER BY p.amprocnum, p.amproc::regprocedure::text))
                  FROM pg_catalog.pg_amproc AS p WHERE p.amprocfamily = f.oid))
  FROM pg_catalog.pg_opfamily AS f WHERE f.oid >= 16384
  UNION ALL -- its locale moved from column to column between PostgreSQL 15 and 17
  SELECT 'pg_catalog.pg_collation'::regclass, c.oid, jsonb_build_object(
    'owner', c.collowner::regrole::text, 'provider', c.collprovider,
    'deterministic', c.collisdeterministic, 'encoding', nullif(c.collencoding, -1),
    'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate),
    'character type', c.collctype, 'rules', to_jsonb(c) ->> 'collicurules')
  FROM pg_catalog.pg_collation AS c WHERE c.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_conversion'::regclass, c.oid, jsonb_build_object(
    'owner', c.conowner::regrole::text, 'function', c.conproc::regprocedure::text,
    'from', pg_encoding_to_char(c.conforencoding), 'to', pg_encoding_to_char(c.contoencoding),
    'default', nullif(c.condefault, false))
  FROM pg_catalog.pg_conversion AS c WHERE c.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_ts_config'::regclass, c.oid, jsonb_build_object(
    'owner', c.cfgowner::regrole::text, 'parser', p.prsname,
    'mapping', (SELECT to_jsonb(array_agg(t.alias || ' ' || m.mapdict::regdictionary
                                          ORDER BY t.alias, m.mapseqno))
                FROM pg_catalog.pg_ts_config_map AS m
                JOIN ts_token_type(c.cfgparser) AS t ON t.tokid = m.maptokentype
                WHERE m.mapcfg = c.oid))
  FROM pg_catalog.pg_ts_config AS c JOIN pg_catalog.pg_ts_parser AS p ON p.oid = c.cfgparser
  WHERE c.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_ts_dict'::regclass, d.oid, jsonb_build_object(
    'owner', d.dictowner::regrole::text, 'template', t.tmplname, 'options', d.dictinitoption)
  FROM pg_catalog.pg_ts_dict AS d JOIN pg_catalog.pg_ts_template AS t ON t.oid = d.dicttemplate
  WHERE d.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_ts_parser'::regclass, p.oid, jsonb_build_object(
    'functions', to_jsonb(ARRAY[p.prsstart, p.prstoken, p.prsend, p.prsheadline, p.prslextype]::text[]))
  FROM pg_catalog.pg_ts_parser AS p WHERE p.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_ts_template'::regclass, t.oid, jsonb_build_object(
    'functions', to_jsonb(ARRAY[t.tmplinit, t.tmpllexize]::text[]))
  FROM pg_catalog.pg_ts_template AS t WHERE t.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_language'::regclass, l.oid, jsonb_build_object(
    'owner', l.lanowner::regrole::text, 'trusted', l.lanpltrusted,
    'handler', nullif(l.lanplcallfoid, 0)::regproc::text,
    'inline', nullif(l.laninline, 0)::regproc::text,
    'validator', nullif(l.lanvalidator, 0)::regproc::text)
  FROM pg_catalog.pg_language AS l WHERE l.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_transform'::regclass, t.oid, jsonb_build_object(
    'from', nullif(t.trffromsql, 0)::regprocedure::text,
    'to', nullif(t.trftosql, 0)::regprocedure::text)
  FROM pg_catalog.pg_transform AS t WHERE t.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_am'::regclass, a.oid, jsonb_build_object(
    'handler', a.amhandler::text, 'type', CASE a.amtype WHEN 't' THEN 'table' ELSE 'index' END)
  FROM pg_catalog.pg_am AS a WHERE a.oid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, w.oid, jsonb_build_object(
    'owner', w.fdwowner::regrole::text, 'handler', nullif(w.fdwhandler, 0)::regproc::text,
    'validator', nullif(w.fdwvalidator, 0)::regproc::text, 'options', to_jsonb(w.fdwoptions))
  FROM pg_catalog.pg_foreign_data_wrapper AS w WHERE w.oid >= 16384
) AS said USING (class, oid)
