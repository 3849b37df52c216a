-- Features that carry indirect-object identification
-- Ablated features of the newest IOI study, largest change of the logit difference first.
-- $place = null: IO, S1, conjunction, S2 or end; null for all
-- $how = "zero": zero, mean or resample
-- $model = null: model id, or null for all
WITH newest AS (
  SELECT id FROM run WHERE id IN (SELECT run FROM ioi_feature) QUALIFY row_number()
    OVER (PARTITION BY model ORDER BY created_at DESC) = 1
), both_orders AS (
  SELECT f.* FROM ioi_feature f JOIN newest n ON n.id = f.run WHERE f.names = 'both'
)
SELECT c.id, c.title, f.place, f.value, f.low, f.high,
  a.value AS abba, b.value AS baba, f.fired, c.layer, f.head, f.head_share, f.n
FROM both_orders f
JOIN feature_card c ON c.id = f.sae_id || '/' || f.feature
LEFT JOIN ioi_feature a ON a.run = f.run AND a.sae_id = f.sae_id AND a.feature = f.feature
  AND a.place = f.place AND a.how = f.how AND a.names = 'ABBA'
LEFT JOIN ioi_feature b ON b.run = f.run AND b.sae_id = f.sae_id AND b.feature = f.feature
  AND b.place = f.place AND b.how = f.how AND b.names = 'BABA'
WHERE f.how = $how AND ($place IS NULL OR f.place = $place)
  AND ($model IS NULL OR f.model = $model)
ORDER BY abs(f.value) DESC, c.id, f.place
