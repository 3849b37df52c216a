-- How well labels see weak firings
-- Share of the firings that judges recognised by a label, per tenth of the activations from weak (0) to strong (9).
-- $scorer = "detection": detection or fuzzing
WITH tenths AS (
  SELECT method, model, unnest(range(len(deciles))) AS decile, unnest(deciles) AS share,
         unnest(decile_n) AS n
  FROM label_score WHERE scorer = $scorer)
SELECT method, model, decile, sum(share * n) / sum(n) AS recognised, sum(n)::BIGINT AS firings
FROM tenths WHERE n > 0
GROUP BY ALL
ORDER BY method, model, decile
