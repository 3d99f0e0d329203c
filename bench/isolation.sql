-- Rows for bench/isolation.py, written as superuser into every tenant there is.
-- A tenant gets 40 generations of 10 concepts, three predictions of each, and 100 insights.
INSERT INTO quota_ledger (tenant_id, id, kind, amount, period_start)
SELECT t.id, gen_random_uuid(), 'reserve', 10, now()
FROM tenants AS t, generate_series(1, 40);

INSERT INTO generations (tenant_id, id, reservation_id, settings, trends, writer, created_at)
SELECT q.tenant_id, gen_random_uuid(), q.id, '{"count": 10}', '[]', 'offline',
       now() - interval '1 hour' * row_number() OVER (PARTITION BY q.tenant_id ORDER BY q.id)
FROM quota_ledger AS q;

-- About 2 KB of JSON: five scenes, a prompt each, and the trend behind it.
INSERT INTO concepts (tenant_id, id, generation_id, category, title, hook, hook_type, script,
                      caption, hashtags, duration_s, why_it_works, prompts, trend, created_at)
SELECT g.tenant_id, gen_random_uuid(), g.id,
       (ARRAY['food', 'tech', 'music', 'news'])[1 + n % 4],
       format('Concept %s of a generation', n), format('Nobody tells you this about %s', n),
       'question',
       (SELECT jsonb_agg(jsonb_build_object(
          'start_s', s * 6, 'end_s', s * 6 + 6, 'on_screen', md5(g.id::text || n || s),
          'spoken', repeat(md5(s || g.id::text || n) || ' ', 5)))
        FROM generate_series(0, 4) AS s),
       repeat(md5(g.id::text || n) || ' ', 6), '["one", "two", "three", "four", "five"]', 30,
       repeat(md5(n || g.id::text) || ' ', 4),
       jsonb_build_object('video', repeat(md5(g.id::text || n) || ' ', 8)),
       jsonb_build_object('topic', md5(n::text), 'score', n, 'source', 'sample'),
       g.created_at + interval '1 millisecond' * n
FROM generations AS g, generate_series(1, 10) AS n;

INSERT INTO predictions (tenant_id, id, concept_id, platform, score, low, high, engagement_score,
                         engagement_low, engagement_high, reach_score, reach_low, reach_high,
                         reasons, model_version)
SELECT c.tenant_id, gen_random_uuid(), c.id, p, 50, 30, 70, 51, 31, 71, 49, 29, 69,
       '[{"name": "category", "points": 3.2}, {"name": "hour", "points": -1.4}]', 1
FROM concepts AS c, unnest(ARRAY['tiktok', 'youtube', 'instagram']) AS p;

INSERT INTO reflexion_insights (tenant_id, id, category, platform, pattern_key, pattern, impact,
                                effect_size, low, high, recommendation)
SELECT t.id, gen_random_uuid(), 'food', 'tiktok', 'pattern ' || n, 'Questions work', 'positive',
       4, 2, 6, 'Open with a question'
FROM tenants AS t, generate_series(1, 100) AS n;
