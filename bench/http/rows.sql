-- Rows for bench/http, written as superuser into every tenant there is: 40 generations of four
-- concepts each, so that the 20 newest are about 76 KB of JSON.
INSERT INTO quota_ledger (tenant_id, id, kind, amount, period_start)
SELECT t.id, gen_random_uuid(), 'reserve', 4, now()
FROM tenants AS t, generate_series(1, 40);

INSERT INTO generations (tenant_id, id, reservation_id, settings, trends, writer, date)
SELECT q.tenant_id, gen_random_uuid(), q.id, '{"count": 4, "category": "food"}',
       jsonb_build_array(jsonb_build_object('topic', md5(q.id::text), 'score', 71)), 'offline',
       now() - interval '1 hour' * row_number() OVER (PARTITION BY q.tenant_id ORDER BY q.id)
FROM quota_ledger AS q;

INSERT INTO concepts (tenant_id, id, generation_id, category, title, hook, hook_type, script,
                      caption, hashtags, duration_s, post_at, why_it_works, prompts)
SELECT g.tenant_id, gen_random_uuid(), g.id, 'food', format('Concept %s of a generation', n),
       format('Nobody tells you this about %s', n), 'question',
       (SELECT jsonb_agg(jsonb_build_object('start_s', s * 10, 'end_s', s * 10 + 10,
                                            'spoken', md5(s || g.id::text || n)))
        FROM generate_series(0, 2) AS s),
       repeat(md5(g.id::text || n) || ' ', 3), '["one", "two", "three", "four", "five"]', 30,
       g.date + interval '1 day', repeat(md5(n || g.id::text) || ' ', 3),
       jsonb_build_object('video', repeat(md5(g.id::text || n) || ' ', 2))
FROM generations AS g, generate_series(1, 4) AS n;
