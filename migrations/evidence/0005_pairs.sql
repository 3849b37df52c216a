-- The token pairs of top examples, sorted so that pair search is quick; the title's score in feature_card.

CREATE TABLE pair (
  sae SMALLINT, feature INTEGER, rank SMALLINT, token INTEGER, src_token INTEGER,
  distance SMALLINT, head SMALLINT);
COMMENT ON TABLE pair IS 'The token pair of every top example, sorted by its tokens so that a pair is found at once.';
COMMENT ON COLUMN pair.sae IS 'sae.sae';
COMMENT ON COLUMN pair.feature IS 'feature.feature';
COMMENT ON COLUMN pair.rank IS 'example.rank, of kind top';
COMMENT ON COLUMN pair.token IS 'Token id the feature fires on (the destination)';
COMMENT ON COLUMN pair.src_token IS 'Token id at the source with the largest signed DFA';
COMMENT ON COLUMN pair.distance IS 'Positions from that source to the destination';
COMMENT ON COLUMN pair.head IS 'Head that carries the largest part of what that source gave';

CREATE OR REPLACE VIEW feature_card AS
SELECT s.id || '/' || f.feature AS id, s.model, s.layer, s.id AS sae_id, t.text AS title,
       t.method AS title_method, t.support AS title_support, t.score AS title_score, f.*
FROM feature f JOIN sae s USING (sae) LEFT JOIN title t ON t.sae = f.sae AND t.feature = f.feature;
COMMENT ON VIEW feature_card IS 'Features with their full id and their title: the place to start a query.';
