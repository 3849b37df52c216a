-- Features where weights and measurement disagree
-- Live features whose strongest head by decoder norm is not the strongest by measured DFA, largest disagreement first.
-- $minimum = 0.25: least disagreement, half the sum of |weight share - measured share|
-- $model = null: model id, or null for all
SELECT id, title, weight_head, weight_share, dfa_head, dfa_share, disagreement, firings
FROM feature_card
WHERE weight_head <> dfa_head AND disagreement >= $minimum::FLOAT AND ($model IS NULL OR model = $model)
ORDER BY disagreement DESC, id
