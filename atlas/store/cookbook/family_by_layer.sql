-- Features of a family per layer
-- How many live features a family rule explains in each SAE, with their share of the live ones.
-- $family = "induction": name of the family
SELECT s.id AS sae, s.layer, count(*) FILTER (f.family = $family) AS features,
       count(*) AS live, count(*) FILTER (f.family = $family) / count(*) AS share
FROM feature f JOIN sae s USING (sae)
WHERE f.firings > 0
GROUP BY s.id, s.layer
ORDER BY s.layer, s.id
