-- Features that promote a token
-- Live features among whose strongest logit effects is a token that holds this text.
-- $text = "the": text in the token, in any case
-- $model = null: model id, or null for all
WITH promoted AS (
  SELECT sae, feature, unnest(top_tokens) AS token, unnest(top_logits) AS logit FROM feature
  WHERE firings > 0
)
SELECT c.id, c.title, v.text AS token, p.logit
FROM promoted p
JOIN feature_card c USING (sae, feature)
JOIN vocab v ON v.model = c.model AND v.token = p.token
WHERE contains(lower(v.text), lower($text)) AND ($model IS NULL OR c.model = $model)
ORDER BY p.logit DESC, c.id
