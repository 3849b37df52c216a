-- Role claims beside the measurements
-- What people claim about heads, the votes on it, and every metric measured on that head.
-- $role = null: role, or null for all
SELECT r.target AS head, r.role, r.author, r.confidence, r.status,
       (SELECT count(*) FROM vote v WHERE v.about = r.id AND v.choice = 'agree') AS agree,
       (SELECT count(*) FROM vote v WHERE v.about = r.id AND v.choice = 'dispute') AS dispute,
       m.metric, m.condition, m.value, m.low, m.high
FROM role_claim r
LEFT JOIN head_metric m ON r.target = m.model || '/L' || m.layer || 'H' || m.head
WHERE $role IS NULL OR r.role = $role
ORDER BY head, r.role, m.metric, m.condition
