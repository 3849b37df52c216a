-- Densest features
-- Features that fire most often, with the interval of their density.
-- $layer = null: layer, or null for all
SELECT id, title, density, density_low, density_high, mean_act, dfa_head, dfa_share
FROM feature_card
WHERE firings > 0 AND ($layer IS NULL OR layer = $layer)
ORDER BY density DESC, id
