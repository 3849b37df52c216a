-- The token pairs of top examples, sorted so that pair search is quick.

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
