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
_LABEL_METHOD = """
INSERT INTO label_method BY NAME
WITH methods AS (SELECT scorer, count(DISTINCT (method, model, prompt)) AS ways
                 FROM label_score GROUP BY scorer),
shared AS (SELECT sae, feature, scorer FROM label_score JOIN methods USING (scorer)
           GROUP BY sae, feature, scorer, ways HAVING count(*) = ways),
failed AS (SELECT DISTINCT sae, feature, method, model, prompt, step FROM label_failure)
SELECT s.method, s.model, s.prompt, s.scorer, count(*) AS features, avg(s.score) AS mean,
  stddev_samp(s.score) AS spread, count(c.feature) AS common,
  avg(s.score) FILTER (c.feature IS NOT NULL) AS common_mean,
  (SELECT count(*) FROM label l WHERE l.side = 'title' AND l.method = s.method
     AND l.model IS NOT DISTINCT FROM s.model AND l.prompt IS NOT DISTINCT FROM s.prompt)
    AS labelled,
  (SELECT count(DISTINCT (f.sae, f.feature)) FROM failed f WHERE f.method = s.method
     AND f.model IS NOT DISTINCT FROM s.model AND f.prompt IS NOT DISTINCT FROM s.prompt
     AND f.step IN ('explain', s.scorer)) AS failures
FROM label_score s LEFT JOIN shared c USING (sae, feature, scorer)
GROUP BY s.method, s.model, s.prompt, s.scorer
ORDER BY s.scorer, mean DESC, s.method, s.model, s.prompt
"""


def derive(con: duckdb.DuckDBPyConnection) -> None:
    """Titles, the embeddings that still fit them, token pairs and labellers compared.

    Args:
        con: a connection inside the transaction that publishes.
    """
    con.execute("DELETE FROM title")
    con.execute(_TITLE)
    con.execute(_LABEL_EMBEDDING)
    con.execute("DELETE FROM pair")
    con.execute(_PAIR)
    con.execute("DELETE FROM label_method")
    con.execute(_LABEL_METHOD)
