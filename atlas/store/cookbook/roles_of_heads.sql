-- Machine roles of heads
-- The largest cluster of each head's top features, the role it stands for, and how alike the features are.
-- $by = "measured": how top features are ranked: measured or weights
-- $k = 10: how many top features: 10, 20 or 50
-- $role = null: role, or null for all
SELECT s.model || '/L' || s.layer || 'H' || r.head AS head, s.id AS sae, r.role, r.words,
       r.share, p.clusters, p.cohesion, p.null_mean AS chance, p.p
FROM head_role r JOIN sae s USING (sae)
LEFT JOIN head_polysemanticity p
  ON p.sae = r.sae AND p.head = r.head AND p."by" = r."by" AND p.k = r.k
WHERE r."by" = $by AND r.k = $k AND r.rank = 0 AND ($role IS NULL OR r.role = $role)
ORDER BY s.model, s.layer, r.head, s.id
