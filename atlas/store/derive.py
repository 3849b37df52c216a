"""What publishing derives from all bundles together, written anew into every snapshot."""

import duckdb

_TITLE = """
INSERT INTO title BY NAME
WITH scored AS (
  SELECT sae, feature, method, model, prompt, avg(score) AS score, avg(score_low) AS low
  FROM label_score WHERE scorer IN ('detection', 'fuzzing') GROUP BY ALL
)
SELECT l.sae, l.feature, l.text, l.method, l.support, l.model, l.prompt, s.score
FROM label l LEFT JOIN scored s ON s.sae = l.sae AND s.feature = l.feature AND s.method = l.method
  AND s.model IS NOT DISTINCT FROM l.model AND s.prompt IS NOT DISTINCT FROM l.prompt
WHERE l.side = 'title'
QUALIFY row_number() OVER (
  PARTITION BY l.sae, l.feature
  ORDER BY CASE WHEN s.low > 0.5 THEN 0 WHEN s.low IS NULL THEN 1 ELSE 2 END,
    CASE WHEN s.low > 0.5 THEN s.low END DESC, (l.method = 'llm') = (coalesce(s.low, 1) > 0.5) DESC,
    s.low DESC, l.support DESC NULLS LAST, l.method, l.model, l.prompt, l.text) = 1
ORDER BY l.sae, l.feature
"""
_LABEL_EMBEDDING = """
DELETE FROM label_embedding AS e WHERE NOT EXISTS (
  SELECT 1 FROM label_text t WHERE t.sae = e.sae AND t.feature = e.feature AND t.text = e.text)
"""
_PAIR = """
INSERT INTO pair BY NAME
SELECT sae, feature, rank, token, src_token, distance,
  src_head[list_position(src_pos, (pos - distance)::SMALLINT)] AS head
FROM example WHERE kind = 'top' ORDER BY token, src_token, sae, feature, rank
"""
_LISTED = """
INSERT INTO listed BY NAME
WITH ordered AS (
  SELECT sae, (row_number() OVER (ORDER BY model, layer, set_name) - 1)::SMALLINT AS place FROM sae
), top AS (
  SELECT sae, feature, count(*)::SMALLINT AS kept FROM example WHERE kind = 'top' GROUP BY ALL
)
SELECT f.sae, f.feature, o.place, f.firings > 0 AS fires, f.density, f.max_act, f.mean_act,
  f.family, f.weight_head, f.weight_share, f.dfa_head, f.dfa_share, f.disagree, f.disagreement,
  t.method, t.support, t.score, coalesce(p.kept, 0) AS kept
FROM feature f JOIN ordered o USING (sae)
  LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature
  LEFT JOIN top p ON p.sae = f.sae AND p.feature = f.feature
ORDER BY o.place, f.feature
"""


def derive(con: duckdb.DuckDBPyConnection) -> None:
    """Titles, the embeddings that still fit them, token pairs and the table of lists.

    Args:
        con: a connection inside the transaction that publishes.
    """
    con.execute("DELETE FROM title")
    con.execute(_TITLE)
    con.execute(_LABEL_EMBEDDING)
    con.execute("DELETE FROM pair")
    con.execute(_PAIR)
    con.execute("DELETE FROM listed")
    con.execute(_LISTED)
