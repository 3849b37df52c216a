-- Heads by a metric
-- Heads with the largest value of one metric under one condition, with its interval; the newest run counts.
-- $metric = "induction": metric, such as previous_token, duplicate_token, induction, copying or ablation_cost
-- $condition = "repeated_random": condition, such as corpus, corpus_eligible, repeated_random, weights or mean
-- $model = null: model id, or null for all
SELECT m.model || '/L' || m.layer || 'H' || m.head AS head, m.value, m.low, m.high, m.n, m.run
FROM head_metric m JOIN run r ON r.id = m.run
WHERE m.metric = $metric AND m.condition = $condition AND ($model IS NULL OR m.model = $model)
QUALIFY row_number() OVER (PARTITION BY m.model, m.layer, m.head
                           ORDER BY r.created_at DESC, r.id) = 1
ORDER BY m.value DESC, m.model, m.layer, m.head
