-- Near-duplicate features
-- Pairs of features that write nearly the same direction, within and across SAEs.
-- $minimum = 0.7: least cosine
-- $other_layers = false: whether only pairs across layers count
SELECT a.id, a.title, b.id AS other, b.title AS other_title, n.cosine, n.jaccard,
       a.dfa_head AS head, b.dfa_head AS other_head
FROM neighbour n
JOIN feature_card a ON a.sae = n.sae AND a.feature = n.feature
JOIN feature_card b ON b.sae = n.other_sae AND b.feature = n.other_feature
WHERE n.cosine >= $minimum::FLOAT AND (NOT $other_layers OR a.layer <> b.layer)
ORDER BY n.cosine DESC, a.id, other
