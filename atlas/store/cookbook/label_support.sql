-- How well labels hold
-- Machine labels by the share of held-back examples that they explain, in five steps.
-- $side = "title": title, when, fetches or says
SELECT s.id AS sae, l.method, least(floor(l.support::DOUBLE * 5), 4) / 5 AS support_from,
       count(*) AS labels, avg(l.n) AS mean_examples
FROM label l JOIN sae s USING (sae)
WHERE l.side = $side AND l.support IS NOT NULL
GROUP BY ALL
ORDER BY sae, method, support_from
