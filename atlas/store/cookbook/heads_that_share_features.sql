-- Heads that share features
-- Pairs of heads of one layer by the number of features to which both bring a good part: candidates for doing the same job.
-- $minimum = 0.25: least measured share of either head
SELECT s.model || '/L' || s.layer || 'H' || a.head AS head,
       s.model || '/L' || s.layer || 'H' || b.head AS other_head, s.id AS sae,
       count(*) AS features, avg(least(a.dfa_share, b.dfa_share)) AS mean_smaller_share
FROM feature_head a
JOIN feature_head b ON b.sae = a.sae AND b.feature = a.feature AND b.head > a.head
JOIN sae s ON s.sae = a.sae
WHERE a.dfa_share >= $minimum::FLOAT AND b.dfa_share >= $minimum::FLOAT
GROUP BY ALL
ORDER BY features DESC, head, other_head, sae
