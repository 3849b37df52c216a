-- Features by the pair of tokens they join
-- Features whose top examples fire on one token and fetch most from another: source holds X, destination holds Y.
-- $source = "": text in the source token; empty for any
-- $fires_on = "": text in the token it fires on; empty for any
-- $max_distance = null: most tokens from source to destination, or null for any
SELECT c.id, c.title, src.text AS source, dst.text AS fires_on, count(*) AS examples,
       min(e.distance) AS nearest, max(e.act) AS max_act
FROM example e
JOIN feature_card c USING (sae, feature)
JOIN vocab src ON src.model = c.model AND src.token = e.src_token
JOIN vocab dst ON dst.model = c.model AND dst.token = e.token
WHERE e.kind = 'top' AND contains(lower(src.text), lower($source))
  AND contains(lower(dst.text), lower($fires_on))
  AND ($max_distance IS NULL OR e.distance <= $max_distance)
GROUP BY c.id, c.title, src.text, dst.text
ORDER BY examples DESC, max_act DESC, c.id, source, fires_on
