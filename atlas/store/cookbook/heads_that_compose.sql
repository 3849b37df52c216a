-- Heads that compose most
-- Pairs of heads whose weights fit best: what the first writes is what the second reads, as query, key or value.
-- $kind = "k": q, k or v
-- $model = null: model id, or null for all
SELECT c.model || '/L' || c.layer || 'H' || c.head AS head,
       c.model || '/L' || c.later_layer || 'H' || c.later_head AS later,
       c.score, c.score * sqrt(m.d_model) AS times_chance, c.run
FROM head_composition c JOIN model m ON m.id = c.model
WHERE c.kind = $kind AND ($model IS NULL OR c.model = $model)
ORDER BY c.score DESC, head, later
