-- Exactness of the attribution
-- Largest part of a pre-activation that heads, sources and bias do not account for, per SAE.
SELECT s.id AS sae, count(*) AS features, max(f.residual) AS largest_residual,
       arg_max(s.id || '/' || f.feature, f.residual) AS worst_feature
FROM feature f JOIN sae s USING (sae)
WHERE f.residual IS NOT NULL
GROUP BY s.id
ORDER BY largest_residual DESC, s.id
