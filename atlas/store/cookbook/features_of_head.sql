-- Features of a head
-- Live features by the share of their measured DFA that one head brings, largest first.
-- $layer = 0: layer of the head, from 0
-- $head = 0: head in the layer, from 0
-- $minimum = 0.25: least measured share
-- $model = null: model id, or null for all
SELECT c.id, c.title, h.dfa_share, h.weight_share, h.won, c.density, c.max_act
FROM feature_head h JOIN feature_card c USING (sae, feature)
WHERE c.layer = $layer AND h.head = $head AND h.dfa_share >= $minimum::FLOAT
  AND ($model IS NULL OR c.model = $model)
ORDER BY h.dfa_share DESC, c.id
