-- Features that one head makes alone
-- Per head, the live features of which it brings nearly all measured DFA, and the densest of them.
-- $minimum = 0.9: least measured share
SELECT c.model || '/L' || c.layer || 'H' || c.dfa_head AS head, count(*) AS features,
       avg(c.dfa_share) AS mean_share, arg_max(c.id, c.density) AS densest
FROM feature_card c
WHERE c.dfa_share >= $minimum::FLOAT
GROUP BY ALL
ORDER BY features DESC, head
