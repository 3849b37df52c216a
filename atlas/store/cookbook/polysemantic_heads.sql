-- Most polysemantic heads
-- How many features it takes to cover a share of what a head writes, most features first; the mass of a feature is |mean DFA| times firings.
-- $share = 0.8: share of the head's mass to cover, 0 to 1
-- $model = null: model id, or null for all
WITH mass AS (
  SELECT fh.sae, fh.head, fh.feature, abs(fh.dfa_mean) * f.firings AS mass
  FROM feature_head fh JOIN feature f USING (sae, feature)
  WHERE fh.dfa_mean IS NOT NULL
), ranked AS (
  SELECT *, sum(mass) OVER (PARTITION BY sae, head) AS total,
         sum(mass) OVER strongest AS covered, row_number() OVER strongest AS n
  FROM mass
  WINDOW strongest AS (PARTITION BY sae, head ORDER BY mass DESC, feature
                       ROWS UNBOUNDED PRECEDING)
)
SELECT s.model || '/L' || s.layer || 'H' || r.head AS head, s.id AS sae,
       min(r.n) FILTER (r.covered >= $share * r.total) AS features_needed,
       count(*) AS features, first(r.total) AS mass
FROM ranked r JOIN sae s USING (sae)
WHERE $model IS NULL OR s.model = $model
GROUP BY s.model, s.layer, r.head, s.id
ORDER BY features_needed DESC, head, sae
