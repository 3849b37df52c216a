-- Tags in use
-- Every tag with the number of things and people behind it.
SELECT name, count(DISTINCT target) AS targets, count(DISTINCT author) AS authors,
       max(created_at) AS last_given
FROM tag
GROUP BY name
ORDER BY targets DESC, name
