-- What the study of heads leaves beside head_metric: distances, tokens, sampled patterns and
-- composition with later heads.

COMMENT ON COLUMN head_metric.metric IS 'Name: previous_token, self, first_token, duplicate_token (earlier copies), induction (what followed them), entropy (bits), distance (tokens), copying (eigenvalues of the full OV circuit), ablation_cost (nats per token)';
COMMENT ON COLUMN head_metric.condition IS 'corpus (all scored destinations), corpus_eligible (destinations whose token occurred before), corpus_without_first (of the attention that does not go to position 0), repeated_random (second copies of random tokens), weights, or mean (z of the head set to its mean)';

CREATE TABLE head_distance (
  model VARCHAR, layer INTEGER, head INTEGER, condition VARCHAR, distance_from INTEGER,
  distance_to INTEGER, share DOUBLE, low DOUBLE, high DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE head_distance IS 'How a head spreads its attention over distances: the shares of one head sum to 1.';
COMMENT ON COLUMN head_distance.model IS 'model.id';
COMMENT ON COLUMN head_distance.layer IS 'Layer, from 0';
COMMENT ON COLUMN head_distance.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head_distance.condition IS 'Text it was measured on';
COMMENT ON COLUMN head_distance.distance_from IS 'Smallest distance of the bin in tokens; NULL for position 0, whatever its distance, which no other bin counts';
COMMENT ON COLUMN head_distance.distance_to IS 'Largest distance of the bin';
COMMENT ON COLUMN head_distance.share IS 'Share of the attention that goes there';
COMMENT ON COLUMN head_distance.low IS 'Lower end of its 95 % interval over contexts';
COMMENT ON COLUMN head_distance.high IS 'Upper end of it';
COMMENT ON COLUMN head_distance.n IS 'Destinations it was measured on';
COMMENT ON COLUMN head_distance.run IS 'run.id';

CREATE TABLE head_token (
  model VARCHAR, layer INTEGER, head INTEGER, side VARCHAR, rank SMALLINT, token INTEGER,
  share DOUBLE, base DOUBLE, weight DOUBLE, n BIGINT, run VARCHAR);
COMMENT ON TABLE head_token IS 'Tokens that get more of a head''s strongest attention than their share of the text; the strongest source of each destination counts, position 0 left out.';
COMMENT ON COLUMN head_token.model IS 'model.id';
COMMENT ON COLUMN head_token.layer IS 'Layer, from 0';
COMMENT ON COLUMN head_token.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head_token.side IS 'query (the token that attends) or key (the one attended to)';
COMMENT ON COLUMN head_token.rank IS 'Order by share - base, from 0';
COMMENT ON COLUMN head_token.token IS 'Token id';
COMMENT ON COLUMN head_token.share IS 'Its share of the weight of all strongest sources';
COMMENT ON COLUMN head_token.base IS 'Its share of the scored positions';
COMMENT ON COLUMN head_token.weight IS 'Mean weight where it takes part';
COMMENT ON COLUMN head_token.n IS 'Destinations where it takes part';
COMMENT ON COLUMN head_token.run IS 'run.id';

CREATE TABLE head_example (
  model VARCHAR, layer INTEGER, head INTEGER, band SMALLINT, rank SMALLINT, ctx INTEGER,
  dst SMALLINT, src SMALLINT, weight FLOAT, run VARCHAR);
COMMENT ON TABLE head_example IS 'Sampled attention of a head: destinations drawn from intervals of their strongest weight.';
COMMENT ON COLUMN head_example.model IS 'model.id';
COMMENT ON COLUMN head_example.layer IS 'Layer, from 0';
COMMENT ON COLUMN head_example.head IS 'Query head in the layer, from 0';
COMMENT ON COLUMN head_example.band IS 'Number of the equal-width interval of weight between 0 and 1, from 0';
COMMENT ON COLUMN head_example.rank IS 'Order within the interval, at random';
COMMENT ON COLUMN head_example.ctx IS 'context.ctx';
COMMENT ON COLUMN head_example.dst IS 'Position that attends';
COMMENT ON COLUMN head_example.src IS 'Its strongest source, position 0 left out';
COMMENT ON COLUMN head_example.weight IS 'Attention from dst to src';
COMMENT ON COLUMN head_example.run IS 'run.id';

CREATE TABLE head_composition (
  model VARCHAR, layer INTEGER, head INTEGER, later_layer INTEGER, later_head INTEGER,
  kind VARCHAR, score FLOAT, run VARCHAR);
COMMENT ON TABLE head_composition IS 'How strongly a head''s output reaches what a later head reads, by weights (Elhage et al. 2021); heads with nothing to do with each other score about 1 / sqrt(d_model).';
COMMENT ON COLUMN head_composition.model IS 'model.id';
COMMENT ON COLUMN head_composition.layer IS 'Layer of the head that writes';
COMMENT ON COLUMN head_composition.head IS 'Its query head';
COMMENT ON COLUMN head_composition.later_layer IS 'Layer of the head that reads';
COMMENT ON COLUMN head_composition.later_head IS 'Its query head';
COMMENT ON COLUMN head_composition.kind IS 'q, k or v: what the later head makes of it; under rotary positions q and k are those of a source at distance 0';
COMMENT ON COLUMN head_composition.score IS '|W_OV W| / (|W_OV| |W|), Frobenius norms, norms'' weights folded in';
COMMENT ON COLUMN head_composition.run IS 'run.id';
