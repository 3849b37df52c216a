-- How well family rules do
-- Precision and recall of every family rule on held-out text, with the share of features it is the family of.
-- $model = null: model id, or null for all
SELECT s.id AS sae, y.family, y.features, y.live, y.share, y.share_low, y.share_high,
       y.replicated, y.precision, y.precision_low, y.precision_high,
       y.recall, y.recall_low, y.recall_high, y.specificity
FROM family_share y JOIN sae s USING (sae)
WHERE $model IS NULL OR s.model = $model
ORDER BY s.model, s.layer, s.id, y.features DESC, y.family
