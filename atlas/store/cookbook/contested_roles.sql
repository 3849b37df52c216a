-- Heads people disagree about
-- Heads with more than one claimed role or with a disputed claim: the place to look again.
SELECT r.target AS head, count(DISTINCT r.role) AS roles, count(DISTINCT r.id) AS claims,
       count(DISTINCT v.id) FILTER (v.choice = 'dispute') AS disputes,
       string_agg(DISTINCT r.role, ', ' ORDER BY r.role) AS claimed
FROM role_claim r LEFT JOIN vote v ON v.about = r.id
WHERE r.status <> 'withdrawn'
GROUP BY r.target
HAVING roles > 1 OR disputes > 0
ORDER BY disputes DESC, roles DESC, head
