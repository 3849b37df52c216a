-- Features of long-prefix and short-prefix heads
-- Features that heads of one class of the prefix study lead, most frequent first within each head.
-- $class = "long-prefix": long-prefix, short-prefix or none
-- $each = 10: features per head
-- $model = null: model id, or null for all
WITH newest AS (
  SELECT id FROM run WHERE id IN (SELECT run FROM prefix_head) QUALIFY row_number()
    OVER (PARTITION BY model ORDER BY created_at DESC) = 1
), led AS (
  SELECT p.layer, p.head, p.one, p.long, c.id, c.title, c.family, h.dfa_share, c.density,
    row_number() OVER (PARTITION BY p.model, p.layer, p.head ORDER BY c.density DESC, c.id) AS place
  FROM prefix_head p JOIN newest n ON n.id = p.run
  JOIN feature_card c ON c.model = p.model AND c.layer = p.layer AND c.dfa_head = p.head
  JOIN feature_head h ON h.sae = c.sae AND h.feature = c.feature AND h.head = p.head
  WHERE p.class = $class AND ($model IS NULL OR p.model = $model)
)
SELECT layer, head, one, long, id, title, family, dfa_share, density FROM led
WHERE place <= $each::INTEGER ORDER BY layer, head, place
