"""What must hold in every snapshot; checked before a bundle's transaction is committed.

The tables have no keys and no foreign keys, because those cost more than all these queries.
"""

import duckdb

from atlas.errors import BundleError
from atlas.tables import OF_RUN, STUDIED

_KEYS = {
    "model": "id",
    "run": "id",
    "sae": "id",
    "head": "model, layer, head",
    "vocab": "model, token",
    "context": "ctx",
    "joint_evaluation": "run",
    "training_curve": "run, layer, step",
    "run_log": "run, rank",
}
# Tables about features are checked for the SAEs that a bundle touched: the others are as they were.
_KEYS_OF_SAE = {
    "feature": "sae, feature",
    "feature_head": "sae, feature, head",
    "example": "sae, feature, kind, band, rank",
    "neighbour": "sae, feature, other_sae, other_feature",
    "label": "sae, feature, side, method, model, prompt",
    "feature_family": "sae, feature, family",
    "family_share": "sae, family",
    "family_bin": "sae, family, bin",
    "feature_induction": "sae, feature",
    "induction_share": "sae",
    "head_role": 'sae, head, "by", k, rank',
    "head_polysemanticity": 'sae, head, "by", k',
    "label_score": "sae, feature, method, model, prompt, scorer",
    "label_embedding": "sae, feature, model",
}
_TOUCHED = "sae IN (SELECT unnest($saes::SMALLINT[]))"
_TWICE = (
    "SELECT '{table} has ' || count(*) || ' rows with the same {key}: '"
    " || concat_ws(' ', {key}) FROM {table} {where} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
)
_REFERENCE = (
    "SELECT '{table}.{column} is ' || coalesce({column}, 'NULL') || ', which is not in {other}'"
    " FROM {table} WHERE {column} IS NULL OR {column} NOT IN (SELECT id FROM {other}) LIMIT 1"
)
_REFERENCES = (
    ("sae", "model", "model"),
    ("sae", "run", "run"),
    ("run", "model", "model"),
    ("context", "run", "run"),
    ("head", "model", "model"),
    *((table, "run", "run") for table in (*OF_RUN, *STUDIED)),
)
# Every row about a feature must speak of a feature that its SAE has.
_RANGE = (
    "SELECT '{table} has feature ' || CASE WHEN low < 0 THEN low ELSE high END || ' of SAE '"
    " || coalesce(s.id || ', which has 0 to ' || (s.d_sae - 1), 'number ' || r.number)"
    " FROM (SELECT {sae} AS number, min({feature}) AS low, max({feature}) AS high"
    f" FROM {{table}} WHERE {_TOUCHED} GROUP BY number) r LEFT JOIN sae s ON s.sae = r.number"
    " WHERE s.sae IS NULL OR low < 0 OR high >= s.d_sae LIMIT 1"
)
_RANGES = (
    *((table, "sae", "feature") for table in ("feature", "feature_head", "example", "neighbour")),
    ("neighbour", "other_sae", "other_feature"),
    *((table, "sae", "feature") for table in ("label", "label_score", "label_failure")),
    ("feature_family", "sae", "feature"),
    ("feature_induction", "sae", "feature"),
    ("label_embedding", "sae", "feature"),
)
_OTHER = (
    f"""
    SELECT 'SAE ' || s.id || ' has ' || count(f.feature) || ' features, not its d_sae of '
      || s.d_sae
    FROM sae s LEFT JOIN feature f USING (sae) WHERE {_TOUCHED} GROUP BY s.id, s.d_sae
    HAVING count(f.feature) <> s.d_sae LIMIT 1
    """,
    """
    SELECT 'SAE id ' || id || ' does not spell model ' || model || ', layer ' || layer || ', set '
      || set_name
    FROM sae WHERE id IS DISTINCT FROM model || '/' || layer || '-' || set_name LIMIT 1
    """,
    """
    SELECT 'SAE ' || s.id || ' is on layer ' || s.layer || ' of model ' || m.id || ', which has '
      || m.n_layers
    FROM sae s JOIN model m ON m.id = s.model WHERE s.layer < 0 OR s.layer >= m.n_layers LIMIT 1
    """,
    f"""
    SELECT 'feature_head has head ' || max(h.head) || ' of SAE ' || s.id || '; its model has '
      || m.n_heads || ' per layer'
    FROM feature_head h JOIN sae s USING (sae) JOIN model m ON m.id = s.model WHERE {_TOUCHED}
    GROUP BY s.id, m.n_heads HAVING min(h.head) < 0 OR max(h.head) >= m.n_heads LIMIT 1
    """,
    f"""
    SELECT 'example ' || e.kind || ' ' || e.rank || ' of feature ' || e.feature || ' of SAE number '
      || e.sae || CASE WHEN c.ctx IS NULL THEN ' points into a context that is not there'
      ELSE ' names another token than its context has at position ' || e.pos END
    FROM example e LEFT JOIN context c USING (ctx)
    WHERE {_TOUCHED} AND (c.ctx IS NULL OR c.tokens[e.pos + 1] IS DISTINCT FROM e.token) LIMIT 1
    """,
    """
    SELECT 'embeddings by ' || model || ' have ' || min(len(vector)) || ' and ' || max(len(vector))
      || ' numbers'
    FROM label_embedding GROUP BY model HAVING min(len(vector)) <> max(len(vector)) LIMIT 1
    """,
)
CHECKS = (
    *(_TWICE.format(table=table, key=key, where="") for table, key in _KEYS.items()),
    *(
        _TWICE.format(table=table, key=key, where=f"WHERE {_TOUCHED}")
        for table, key in _KEYS_OF_SAE.items()
    ),
    *(_REFERENCE.format(table=t, column=c, other=o) for t, c, o in _REFERENCES),
    *(_RANGE.format(table=t, sae=s, feature=f) for t, s, f in _RANGES),
    *_OTHER,
)


def check(con: duckdb.DuckDBPyConnection, what: str, saes: list[int]) -> None:
    """Refuse a database in which keys are not unique or references lead nowhere.

    Args:
        con: a connection inside the transaction that loaded `what`.
        what: names what was loaded, for the message.
        saes: small numbers of the SAEs that it touched.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    for sql in CHECKS:
        values = {"saes": saes} if "$saes" in sql else {}
        for (reason,) in con.execute(sql, values).fetchall():
            raise BundleError(f"{what} cannot be published: {reason}")
