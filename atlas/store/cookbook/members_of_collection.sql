-- A collection with its features
-- The members of a collection in order, with title and top head where they are features.
-- $name = null: name of the collection, or null for all
SELECT l.name AS collection, m.rank, m.target, m.sentence, c.title, c.dfa_head, c.dfa_share
FROM collection l
JOIN collection_member m ON m.collection = l.id
LEFT JOIN feature_card c ON c.id = m.target
WHERE $name IS NULL OR l.name = $name
ORDER BY l.name, l.id, m.rank
