-- What to look at next
-- Live features nobody labelled by hand, whose machine title explains little or whose attribution is in doubt.
-- $support = 0.8: machine titles with less support than this are in doubt
SELECT c.id, c.title, c.title_support, c.disagreement, c.disagree, c.firings
FROM feature_card c
WHERE c.firings > 0 AND (c.disagree OR coalesce(c.title_support, 0) < $support::FLOAT)
  AND NOT EXISTS (SELECT 1 FROM human_label h WHERE h.target = c.id)
ORDER BY c.disagreement DESC, c.title_support, c.id
