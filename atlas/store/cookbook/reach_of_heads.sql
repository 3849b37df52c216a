-- How far back a head looks
-- Distance from firing token to strongest source over top examples, by the head that carries that source.
SELECT c.model || '/L' || c.layer || 'H' || e.src_head[1] AS head, count(*) AS examples,
       median(e.distance) AS median_distance,
       count(*) FILTER (e.distance = 0) / count(*) AS on_itself,
       count(*) FILTER (e.distance = 1) / count(*) AS on_previous
FROM example e JOIN feature_card c USING (sae, feature)
WHERE e.kind = 'top'
GROUP BY ALL
ORDER BY median_distance DESC, head
