-- Dead features
-- Share of features that never fired, in training and on the mined text, per SAE.
SELECT s.id AS sae, s.d_sae, s.dead_share AS dead_in_training,
       count(*) FILTER (f.firings = 0) AS never_fired,
       count(*) FILTER (f.firings = 0) / count(*) AS dead_in_mining, max(f.tokens) AS mined_tokens
FROM sae s JOIN feature f USING (sae)
GROUP BY s.id, s.d_sae, s.dead_share
ORDER BY dead_in_mining DESC, s.id
