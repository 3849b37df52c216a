-- One narrow row per feature: searches filter, sort and count without touching the wide tables.

CREATE TABLE listed (
  sae SMALLINT, feature INTEGER, place SMALLINT, fires BOOLEAN, density DOUBLE, max_act FLOAT,
  mean_act FLOAT, family VARCHAR, weight_head SMALLINT, weight_share FLOAT, dfa_head SMALLINT,
  dfa_share FLOAT, disagree BOOLEAN, disagreement FLOAT, method VARCHAR, support FLOAT,
  score FLOAT, kept SMALLINT);
COMMENT ON TABLE listed IS 'What lists of features are filtered, sorted and counted by, one narrow row per feature.';
COMMENT ON COLUMN listed.sae IS 'sae.sae';
COMMENT ON COLUMN listed.feature IS 'feature.feature';
COMMENT ON COLUMN listed.place IS 'Order of its SAE by model, layer and set, from 0';
COMMENT ON COLUMN listed.fires IS 'Whether it fired while mining';
COMMENT ON COLUMN listed.density IS 'feature.density';
COMMENT ON COLUMN listed.max_act IS 'feature.max_act';
COMMENT ON COLUMN listed.mean_act IS 'feature.mean_act';
COMMENT ON COLUMN listed.family IS 'feature.family';
COMMENT ON COLUMN listed.weight_head IS 'feature.weight_head';
COMMENT ON COLUMN listed.weight_share IS 'feature.weight_share';
COMMENT ON COLUMN listed.dfa_head IS 'feature.dfa_head';
COMMENT ON COLUMN listed.dfa_share IS 'feature.dfa_share';
COMMENT ON COLUMN listed.disagree IS 'feature.disagree';
COMMENT ON COLUMN listed.disagreement IS 'feature.disagreement';
COMMENT ON COLUMN listed.method IS 'title.method';
COMMENT ON COLUMN listed.support IS 'title.support';
COMMENT ON COLUMN listed.score IS 'title.score';
COMMENT ON COLUMN listed.kept IS 'Its examples of kind top';
